/** A gRPC client of the control plane: TLS 1.3, the server's SPIFFE id judged before anything is said, no resumption, dead connections found within seconds. */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket, type SecureContext } from "node:tls";
import {
  ChannelCredentials,
  Client,
  Metadata,
  status,
  type ClientDuplexStream,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Clock } from "../core/clock.ts";
import type { PacedWork } from "../core/paced-work.ts";
import type { Bytes } from "../core/units.ts";
import type { Credentials } from "../identity/credentials.ts";
import { proofOf, type Proof, type Revoked } from "../identity/revoked.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import { judgePeer, UNTIMELY, type Judgement } from "../identity/svid.ts";
import { trustOf } from "../identity/trust.ts";
import { CONTROL_PLANE } from "../push/names.ts";
import { Ciphertext, MOST_UNSEEN } from "../wire/tls/ciphertext.ts";
import { judgeSocket, presentedChain } from "../wire/tls/tls-context.ts";
import { pacedConnection } from "./connections/paced-connection.ts";
import { changeConnectors } from "./connections/secure-connector.ts";
import type { FirstContact } from "./enrolment/first-contact.ts";

export interface ConnectionOptions {
  /** "HOST:PORT", "[IPV6]:PORT" */
  readonly address: string;
  /** PEM roots that the server must chain to; "" at a first contact. */
  readonly trustBundle: string;
  /** Finds the root that the server must chain to, where no more than its fingerprint is known. */
  readonly firstContact?: FirstContact | undefined;
  /** Presented to the server; absent at enrolment, when any trust domain of the pinned CA will do. */
  readonly credentials?: Credentials;
  /** Bytes of a message beyond which the stream is given up. */
  readonly maxMessageBytes: Bytes;
  /** What comes is read at its pace; absent: at once. */
  readonly work?: PacedWork | undefined;
  readonly clock: Clock;
  /** What is revoked now; absent: nothing is known to be. */
  readonly revoked?: (() => Revoked) | undefined;
  /** The server has proved to be the control plane, by this. */
  readonly onProven?: (proof: Proof) => void;
  /** The server was refused for the dates of its certificate. */
  readonly onUntimely?: () => void;
  /** Any server is taken: for a call that tells nothing, and whose answer proves itself. */
  readonly anyServer?: boolean;
  /** The connection has ended, for the server sent what none sends. */
  readonly onFlood?: (reason: string) => void;
}

const FLOODED = `the control plane floods its connection with what TLS keeps to itself: more than ${MOST_UNSEEN} bytes`;

/** One for all connections that a sidecar makes under the same certificate. */
const contexts = new WeakMap<Credentials, SecureContext>();

function contextFor({
  credentials,
  trustBundle,
}: ConnectionOptions): SecureContext {
  if (credentials === undefined) return makeContext(trustBundle);
  if (credentials.trustBundle !== trustBundle)
    return makeContext(trustBundle, credentials);
  let context = contexts.get(credentials);
  if (context === undefined) {
    context = makeContext(trustBundle, credentials);
    contexts.set(credentials, context);
  }
  return context;
}

function makeContext(ca: string, own?: Credentials): SecureContext {
  return createSecureContext({
    // Without any, Node would read the roots of the public web.
    ca: ca === "" ? [] : ca,
    minVersion: "TLSv1.3",
    ecdhCurve: "X25519MLKEM768:X25519:P-256",
    ...(own === undefined
      ? {}
      : { cert: own.certificateChain, key: own.privateKey }),
  });
}

/** Makes no connection before the first call. Close it. */
export function openClient(options: ConnectionOptions): Client {
  const { anyServer = false } = options;
  const context = contextFor(options);
  const channel = judgedChannel(context, options, (socket) =>
    anyServer ? undefined : serverFault(socket, options),
  );
  return new Client(`dns:///${options.address}`, channel, {
    // A name for SNI, where the address may be a number; the identity is in the SPIFFE id alone.
    "grpc.ssl_target_name_override": `${CONTROL_PLANE.serviceAccount}.${CONTROL_PLANE.namespace}`,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.max_receive_message_length": options.maxMessageBytes,
    "grpc.max_send_message_length": -1,
    // Each client stands alone: no back-off of an earlier one, no connection under other credentials, no proxy from the environment.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,
    "grpc.enable_channelz": 0,
    "grpc.service_config_disable_resolution": 1,
  });
}

/** Node's own judgement is off, as on the link: it looks for host names, and knows this machine's clock alone. */
function judgedChannel(
  context: SecureContext,
  { work, clock, onFlood = () => undefined }: ConnectionOptions,
  faultOf: (socket: TLSSocket) => Error | undefined,
): ChannelCredentials {
  const channel = ChannelCredentials.createFromSecureContext(context, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  changeConnectors(channel, (connector) => {
    const connect = connector.connect.bind(connector);
    connector.connect = async (raw) => {
      const ciphertext = work === undefined ? undefined : new Ciphertext(raw);
      const result = await connect(asSocket(ciphertext ?? raw));
      const { socket } = result;
      if (!(socket instanceof TLSSocket))
        throw new TypeError("the connection is not TLS");
      const fault = faultOf(socket);
      if (fault === undefined) {
        if (work === undefined || ciphertext === undefined) return result;
        ciphertext.bound(() => onFlood(FLOODED));
        const onRecord = (bytes: Bytes): void => ciphertext.handedOn(bytes);
        return {
          ...result,
          socket: pacedConnection(socket, { work, clock, onRecord, onFlood }),
        };
      }
      // Not at once: OpenSSL is still at work on this connection.
      setImmediate(() => socket.destroy());
      throw fault;
    };
  });
  return channel;
}

/** node:tls takes any Duplex; the types of grpc-js say Socket. */
function asSocket(stream: Duplex): Socket {
  const socket: unknown = stream;
  return socket as Socket;
}

/** Called after each handshake, before a byte is sent. */
function serverFault(
  socket: TLSSocket,
  options: ConnectionOptions,
): Error | undefined {
  const { credentials, onUntimely } = options;
  const trustDomain = credentials?.spiffeId.trustDomain;
  const presented = presentedChain(socket);
  const judgement = judgeServer(socket, presented, options);
  const [leaf] = presented;
  if (
    judgement.ok &&
    leaf !== undefined &&
    judgement.id.namespace === CONTROL_PLANE.namespace &&
    judgement.id.serviceAccount === CONTROL_PLANE.serviceAccount
  ) {
    options.onProven?.(proofOf(leaf, judgement.uri, judgement.id));
    return undefined;
  }
  const expected = formatSpiffeId({
    trustDomain: trustDomain ?? "any",
    ...CONTROL_PLANE,
  });
  if (judgement.ok)
    return new Error(
      `the server proved to be ${judgement.uri}, not the control plane (${expected})`,
    );
  if (UNTIMELY.has(judgement.reason)) onUntimely?.();
  return new Error(
    `the server did not prove to be the control plane (${expected}): ${judgement.reason}: ${judgement.detail}`,
  );
}

function judgeServer(
  socket: TLSSocket,
  presented: readonly X509Certificate[],
  { credentials, trustBundle, firstContact, clock, revoked }: ConnectionOptions,
): Judgement {
  const domain = credentials?.spiffeId.trustDomain;
  const domains = domain === undefined ? undefined : [domain];
  const trust = trustOf({ ...credentials, trustBundle }, clock, revoked?.());
  if (firstContact === undefined)
    return judgeSocket(socket, domains, trust, presented);
  const [leaf, ...issuers] = presented;
  // OpenSSL knows no root here, and has nothing to say.
  const authorized =
    firstContact.verify(presented) && !socket.isSessionReused();
  return judgePeer(
    { leaf, issuers, authorized, authorizationError: undefined },
    domains,
    trust,
  );
}

export interface CallOptions {
  readonly clock: Clock;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/** One call; rejects with CallError, or with the signal's reason. */
export function call<Q, S>(
  client: Client,
  method: MethodDefinition<Q, S>,
  request: Q,
  options: CallOptions,
): Promise<S> {
  const { clock, timeout, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const settle = (): void => {
      cancelTimeout();
      signal.removeEventListener("abort", onAbort);
    };
    const running = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
      (error: ServiceError | null, response?: S) => {
        settle();
        if (response === undefined) reject(new CallError(error));
        else resolve(response);
      },
    );
    const onAbort = (): void => {
      settle();
      running.cancel();
      reject(signal.reason as Error);
    };
    const cancelTimeout = clock.after(timeout, () => {
      settle();
      running.cancel();
      reject(new CallError(null, `no response within ${timeout / 1000} s`));
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

export function openStream<Q, S>(
  client: Client,
  method: MethodDefinition<Q, S>,
): ClientDuplexStream<Q, S> {
  return client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    new Metadata(),
  );
}

/** A call that failed, in the server's words where it said any. */
export class CallError extends Error {
  override readonly name = "CallError";
  /** gRPC's status code; undefined for a time-out of ours. */
  readonly code: number | undefined;

  constructor(error: ServiceError | null, message?: string) {
    super(message ?? error?.details ?? "the call failed");
    this.code = error?.code;
  }
}

/** The server knows the caller, or knows that it does not, and gives it nothing. */
export function isRefusal(thrown: unknown): boolean {
  return (
    thrown instanceof CallError &&
    (thrown.code === status.UNAUTHENTICATED ||
      thrown.code === status.PERMISSION_DENIED)
  );
}
