/** Getting certificates: by the token the first time, by the certificate in use after that; the key is made here each time and never leaves. */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import type { PacedWork } from "../../core/paced-work.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { untimelyChainFault } from "../../identity/chain.ts";
import {
  loadCredentials,
  rootsFrom,
  type Credentials,
  type Roots,
} from "../../identity/credentials.ts";
import { readBinding } from "../../identity/extensions.ts";
import { readCertificates } from "../../identity/pem.ts";
import type { Revoked } from "../../identity/revoked.ts";
import { generatePrivateKey } from "../../identity/private-key.ts";
import { timesOf } from "../../identity/trust.ts";
import { openBundle } from "../../identity/trust-bundle.ts";
import { signedTrust } from "../../push/codec.ts";
import type { EnrolRequest, IssueResponse } from "../../push/messages.ts";
import { ENROLMENT } from "../../push/services.ts";
import { parseToken } from "../../push/token.ts";
import {
  call,
  CallError,
  openClient,
  type ConnectionOptions,
} from "../connection.ts";
import { late } from "../../runtime/late.ts";
import { FirstContact } from "./first-contact.ts";

export interface IssueOptions {
  /** "HOST:PORT" of the control plane. */
  readonly address: string;
  /** What the control plane sends is read at its pace. */
  readonly work?: PacedWork | undefined;
  /** As `ConnectionOptions.revoked`. */
  readonly revoked?: (() => Revoked) | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const TIMEOUT = 15_000;
/** Bytes of an answer: a chain and a bundle. */
const LONGEST_ANSWER = 2 * 1024 * 1024;

export function unreadableToken(): UserError {
  return new UserError(
    "the enrolment token (--token or --token-file) is not one (wherry1.…): give the whole text that `wherry token create` printed",
  );
}

/** `name`: the instance name to ask for; "" leaves it to the control plane. `privateKey`: a new one where absent; with the same at each try, a response that is lost costs no other use of the token. */
export async function enrol(
  options: IssueOptions & {
    readonly token: string;
    readonly name: string;
    readonly privateKey?: string;
  },
): Promise<Credentials> {
  const { address, clock, token, name } = options;
  const parsed = parseToken(token);
  if (parsed === undefined) throw unreadableToken();
  const { host, port } = splitAddress(address);
  const firstContact = new FirstContact({
    where: `the control plane at ${formatHostPort(host, port)}`,
    fingerprints: [parsed.ca, parsed.next].filter((each) => each !== undefined),
    clock,
  });
  const { privateKey = generatePrivateKey() } = options;
  const request = { token, csr: await csrOf(privateKey), name };
  const response = await requestFirst(options, request, firstContact);
  const { root: trustBundle = "" } = firstContact;
  const roots = rootsOf(response, { trustBundle }, clock);
  return load(privateKey, response, roots, clock);
}

/** The root is found and the token is sent on one connection, in this order. */
async function requestFirst(
  options: IssueOptions,
  request: EnrolRequest,
  firstContact: FirstContact,
): Promise<IssueResponse> {
  try {
    return await requestEnrolment(options, request, {
      trustBundle: "",
      firstContact,
    });
  } catch (thrown) {
    const { fault, root, isForOpenSsl } = firstContact;
    if (root !== undefined && isForOpenSsl)
      return requestEnrolment(options, request, { trustBundle: root });
    if (fault !== undefined) throw fault;
    const unreached =
      thrown instanceof CallError
        ? firstContact.unreached(thrown.message)
        : undefined;
    throw unreached === undefined
      ? thrown
      : new Error(unreached, { cause: thrown });
  }
}

async function requestEnrolment(
  { address, work, revoked, clock, signal }: IssueOptions,
  request: EnrolRequest,
  server: Pick<ConnectionOptions, "trustBundle" | "firstContact">,
): Promise<IssueResponse> {
  const client = openClient({
    ...{ address, work, revoked, clock, ...server },
    maxMessageBytes: LONGEST_ANSWER,
  });
  try {
    return await call(client, ENROLMENT.Enrol, request, {
      clock,
      timeout: TIMEOUT,
      signal,
    });
  } finally {
    client.close();
  }
}

export interface RenewOptions extends IssueOptions {
  /** Valid or not: the control plane decides. */
  readonly credentials: Credentials;
}

/**
 * Where the control plane's certificate is out of date by the clocks of this end, one of the two is wrong. Then the answer proves its
 * source: only the authority can sign for a key that was made just now, and what it says of the time is as fresh as that.
 */
export async function renew(options: RenewOptions): Promise<Credentials> {
  const { credentials } = options;
  const server = { untimely: false };
  try {
    return await requestRenewal(options, {
      onUntimely: () => {
        server.untimely = true;
      },
    });
  } catch (thrown) {
    if (!server.untimely) throw thrown;
  }
  const renewed = await requestRenewal(options, { anyServer: true });
  const fault = unprovenFault(renewed, credentials);
  if (fault !== undefined)
    throw new Error(
      `the server is not the control plane, and its certificate is out of date: ${fault}`,
    );
  return renewed;
}

async function requestRenewal(
  { address, work, revoked, clock, signal, credentials }: RenewOptions,
  server: Pick<ConnectionOptions, "onUntimely" | "anyServer">,
): Promise<Credentials> {
  const { trustBundle } = credentials;
  const client = openClient({
    ...{ address, trustBundle, credentials, work, revoked, clock, ...server },
    maxMessageBytes: LONGEST_ANSWER,
  });
  try {
    const privateKey = generatePrivateKey();
    const response = await call(
      client,
      ENROLMENT.Renew,
      { csr: await csrOf(privateKey) },
      { clock, timeout: TIMEOUT, signal },
    );
    const roots = rootsOf(response, { ...credentials, ...server }, clock);
    const renewed = load(privateKey, response, roots, clock);
    if (renewed.id !== credentials.id)
      throw new Error(`the control plane sent a certificate for ${renewed.id}`);
    return renewed;
  } finally {
    client.close();
  }
}

async function csrOf(privateKey: string): Promise<string> {
  const { createCsr } = await loadRequests();
  return createCsr(privateKey);
}

/** What makes requests is large, and a sidecar that starts with its certificate makes none for hours. */
export function loadRequests(): Promise<{
  readonly createCsr: (privateKey: string) => string;
}> {
  return late(() => import("../../identity/x509.ts"));
}

/** Why a certificate that anybody may have sent is not the successor of the present one. */
function unprovenFault(
  renewed: Credentials,
  present: Credentials,
): string | undefined {
  const chain = readCertificates(renewed.certificateChain, "certificate");
  const roots = readCertificates(present.trustBundle, "trust bundle");
  const [before] = readCertificates(present.certificateChain, "certificate");
  const [leaf] = chain;
  if (leaf === undefined || before === undefined) return "no certificate";
  return isDeepStrictEqual(readBinding(leaf), readBinding(before))
    ? untimelyChainFault(chain, roots, renewed.notBefore)
    : "its certificate is for another instance";
}

/**
 * Which roots count from now on: those of a signed bundle that is newer than what is held. Where there is none, the control plane is of
 * an older version: what it says counts where it has proved itself before, and no signed bundle is held. Throws UserError.
 */
function rootsOf(
  { trust, trustBundle }: IssueResponse,
  held: Partial<Credentials> &
    Pick<Credentials, "trustBundle"> &
    Pick<ConnectionOptions, "anyServer">,
  clock: Clock,
): Roots {
  const { bundle } = held;
  const kept: Roots = {
    trustBundle: held.trustBundle,
    ...(bundle === undefined ? {} : { bundle }),
  };
  if (trust.length === 0)
    return held.anyServer === true || bundle !== undefined
      ? kept
      : { trustBundle };
  const next = openBundle(signedTrust.decode(trust), {
    trustBundle: held.trustBundle,
    trustDomain: held.spiffeId?.trustDomain,
    times: timesOf(held.meshTime, clock),
  });
  if (next.serial <= (bundle?.serial ?? 0)) return kept;
  return rootsFrom(next);
}

/** The control plane's word for the time counts where the certificate bears it out. */
function load(
  privateKey: string,
  { certificateChain, time }: IssueResponse,
  { trustBundle, bundle }: Roots,
  clock: Clock,
): Credentials {
  const wall = clock.wall();
  const loaded = loadCredentials(
    { certificateChain, trustBundle, privateKey },
    wall,
  );
  const borneOut = time >= loaded.notBefore && time < loaded.notAfter;
  return {
    ...loaded,
    ...(bundle === undefined ? {} : { bundle }),
    meshTime: { wall: borneOut ? time : wall, at: clock.now() },
  };
}

/** Throws UserError. */
export function splitAddress(address: string): { host: string; port: number } {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined)
    throw new UserError(
      `invalid control plane address "${address}": expected HOST:PORT, such as control-plane:15012 or [::1]:15012`,
    );
  return { host, port: Number(port) };
}
