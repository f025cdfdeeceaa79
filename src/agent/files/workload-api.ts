/** The SPIFFE Workload API: an agent on this machine (SPIRE's, or another) gives the certificate by a stream of gRPC over a socket, and each one that follows it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  ChannelCredentials,
  Client,
  Metadata,
  type ClientReadableStream,
} from "@grpc/grpc-js";
import { equalJitter } from "../../core/backoff.ts";
import { wait, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { CredentialPems } from "../../identity/credentials.ts";
import { childrenOf, Tag } from "../../identity/der.ts";
import { many, messageTypes, one } from "../../push/message-types.ts";

export interface WorkloadApiOptions {
  /** "unix:///run/spire/sockets/agent.sock" */
  readonly address: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FETCH = "/SpiffeWorkloadAPI/FetchX509SVID";
/** Without it, an agent gives nothing: a request that a browser was led to make does not have it. */
const HEADER = { name: "workload.spiffe.io", value: "true" } as const;
const LONGEST = 4 * 1024 * 1024;
/** Milliseconds between two streams. */
const RETRY = { base: 500, max: 10_000 } as const;

const typeOf = messageTypes({
  X509SVIDResponse: [many(1, "svids", "X509SVID")],
  X509SVID: [
    one(1, "spiffeId", "string"),
    one(2, "x509Svid", "bytes"),
    one(3, "x509SvidKey", "bytes"),
    one(4, "bundle", "bytes"),
  ],
});

interface Svid {
  /** DER, leaf first. */
  readonly x509Svid: Buffer;
  /** PKCS #8. */
  readonly x509SvidKey: Buffer;
  /** DER of the roots of its trust domain. */
  readonly bundle: Buffer;
}

/** Throws UserError where the address is not one of a socket. */
export function openWorkloadApi(options: WorkloadApiOptions): WorkloadApi {
  if (!/^unix:(?:\/\/)?\/[^\s?#]+$/.test(options.address))
    throw new UserError(
      `invalid --workload-api ${options.address}: expected the path of a socket, unix:///run/spire/sockets/agent.sock`,
    );
  return new WorkloadApi(options);
}

export class WorkloadApi {
  readonly #options: WorkloadApiOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #first: PromiseWithResolvers<void> = Promise.withResolvers();
  #pems: CredentialPems | undefined;
  #changed: (() => Promise<void>) | undefined;
  #isNew = false;
  #changing: Promise<void> = Promise.resolve();
  #told = "";

  constructor(options: WorkloadApiOptions) {
    this.#options = options;
    // It is awaited where it matters.
    this.#first.promise.catch(() => undefined);
    this.#running = this.#run();
  }

  /** The certificate of now; the first is waited for. Rejects when it is closed before. */
  async read(): Promise<CredentialPems> {
    await this.#first.promise;
    if (this.#pems === undefined) throw new Error("there is no certificate");
    return this.#pems;
  }

  /** Each one after the first, in turn. `changed` never rejects. */
  follow(changed: () => Promise<void>): void {
    this.#changed = changed;
    if (this.#isNew) this.#changing = changed();
  }

  async close(): Promise<void> {
    const reason = new Error("the sidecar is stopping");
    this.#stop.abort(reason);
    this.#first.reject(reason);
    await this.#running;
    await this.#changing;
  }

  /** One stream after another. Never rejects. */
  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    const isOver = (): boolean => signal.aborted;
    for (let failures = 1; !isOver(); failures += 1) {
      const before = this.#pems;
      const reason = await this.#stream().catch(messageOf);
      if (isOver()) return;
      if (this.#pems !== before) failures = 1;
      this.#tell(reason);
      await wait(clock, equalJitter(RETRY, failures, clock), signal).catch(
        () => undefined,
      );
    }
  }

  /** Resolves with the reason of its end. */
  async #stream(): Promise<string> {
    const client = new Client(
      this.#options.address,
      ChannelCredentials.createInsecure(),
      {
        "grpc.max_receive_message_length": LONGEST,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_http_proxy": 0,
        "grpc.enable_retries": 0,
        "grpc.enable_channelz": 0,
        "grpc.service_config_disable_resolution": 1,
      },
    );
    const metadata = new Metadata();
    metadata.set(HEADER.name, HEADER.value);
    try {
      return await this.#follow(
        client.makeServerStreamRequest(
          FETCH,
          () => Buffer.alloc(0),
          (bytes) => bytes,
          undefined,
          metadata,
        ),
      );
    } finally {
      client.close();
    }
  }

  #follow(call: ClientReadableStream<Buffer>): Promise<string> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const cancel = (): void => call.cancel();
      const end = (reason: string): void => {
        signal.removeEventListener("abort", cancel);
        call.cancel();
        resolve(reason);
      };
      signal.addEventListener("abort", cancel, { once: true });
      call.on("data", (bytes: Buffer) => {
        try {
          this.#take(pemsOf(bytes));
        } catch (thrown) {
          end(messageOf(thrown));
        }
      });
      call.on("error", (error) => end(messageOf(error)));
      call.on("end", () => end("the stream has ended"));
    });
  }

  #take(pems: CredentialPems): void {
    const isFirst = this.#pems === undefined;
    this.#pems = pems;
    this.#told = "";
    if (isFirst) this.#first.resolve();
    else if (this.#changed === undefined) this.#isNew = true;
    else this.#changing = this.#changing.then(this.#changed);
  }

  #tell(reason: string): void {
    const { address, logger } = this.#options;
    if (reason !== this.#told)
      logger.warn(
        { address, reason },
        this.#pems === undefined
          ? "the Workload API gives no certificate yet"
          : "the Workload API cannot be reached; the certificate in use stays",
      );
    this.#told = reason;
  }
}

/** The first certificate is the default one. Throws where the message has none, or what is in it cannot be read. */
function pemsOf(bytes: Buffer): CredentialPems {
  const type = typeOf("X509SVIDResponse");
  const { svids } = type.toObject(type.decode(bytes), {
    arrays: true,
    defaults: true,
    bytes: Buffer,
  }) as { readonly svids: readonly Svid[] };
  const [svid] = svids;
  if (svid === undefined)
    throw new Error("the Workload API has no certificate for this process");
  const { x509Svid, x509SvidKey: key, bundle } = svid;
  return {
    certificateChain: pemOf(x509Svid),
    privateKey: createPrivateKey({ key, format: "der", type: "pkcs8" }).export({
      format: "pem",
      type: "pkcs8",
    }),
    trustBundle: pemOf(bundle),
  };
}

/** Certificates one after another, as they are. */
function pemOf(value: Buffer): string {
  return childrenOf({ tag: Tag.SEQUENCE, value, whole: value })
    .map(({ whole }) => new X509Certificate(whole).toString())
    .join("");
}
