/** One config stream from its opening to its end: says what is held, stages what comes, answers each message once. */
import {
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { PacedWork } from "../core/paced-work.ts";
import { nextTurn } from "../core/slices.ts";
import type { Bytes } from "../core/units.ts";
import type { SignedBundle } from "../identity/trust-bundle.ts";
import {
  readHead,
  readParts,
  revision as revisionCodec,
  signedTrust,
  type ResponseHead,
} from "../push/codec.ts";
import { EVERYTHING } from "../push/interest.ts";
import type {
  DeltaRequest,
  DeltaResource,
  Node,
  Revision,
  UnreadReport,
} from "../push/messages.ts";
import { RESOURCE_TYPE, REVISION_TYPE, TRUST_TYPE } from "../push/names.ts";
import { DISCOVERY } from "../push/services.ts";
import { openStream } from "./connection.ts";
import { firstRequest } from "./first-request.ts";
import type { Send, Subscriptions } from "./interest/subscriptions.ts";
import { makeStaging, type ReceivedConfig, type Staging } from "./staging.ts";

export interface StreamOptions {
  readonly client: Client;
  readonly node: Node;
  /** What is in force when the stream opens. */
  readonly held: ReceivedConfig;
  /** What the first request subscribes to; its argument takes what changes after that. Absent: everything. */
  readonly subscribe: ((send: Send) => readonly string[]) | undefined;
  readonly maxConfigBytes: Bytes;
  /** Reads what comes, at a pace that leaves the thread to calls. */
  readonly work: PacedWork;
  readonly clock: Clock;
  /** Ends the stream. */
  readonly signal: AbortSignal;
  /** The control plane does not take the certificate. */
  readonly onRefused?: () => void;
  /** The control plane has answered. */
  readonly onOpen: () => void;
  /** A push is complete: puts it in force, or gives the reason why not. May not reject. */
  readonly onPush: (
    revision: Revision,
    config: ReceivedConfig,
  ) => Promise<PushResult>;
  /** Roots have come: trusts them from now on, or gives the reason why not. May not reject. */
  readonly onTrust: (signed: SignedBundle) => Promise<string | undefined>;
  /** A push is complete and cannot be used as it came. */
  readonly onUnusable: (revision: Revision | undefined, reason: string) => void;
}

/** What became of a push. */
export interface PushResult {
  /** Why it is not in force. */
  readonly refused?: string | undefined;
  /** What of it cannot be read whole. */
  readonly unread?: UnreadReport | undefined;
}

/** How a stream ended. */
export interface StreamEnd {
  readonly reason: string;
  /** The control plane sent what no control plane sends: to come back soon would bring the same. */
  readonly mad: boolean;
}

/**
 * Bytes that may have come and wait to be read. A control plane sends a message once the one before is acknowledged; one that does not
 * wait is held back by its window, and its small messages by this.
 */
export const MOST_UNREAD: Bytes = 8 * 1024 * 1024;
/** Messages of a stream that may come before the one before is acknowledged. No control plane of ours sends any. */
export const MOST_UNASKED = 2;
/** Bytes; it has a few hundred. */
const LONGEST_REVISION = 65_536;
/** Milliseconds of CPU that a message costs outside of what is measured: put together, acknowledged. */
const MESSAGE_COST = 0.1;
/** Milliseconds that a control plane has for its first message. */
const FIRST_MESSAGE = 15_000;
const NOTHING: ReceivedConfig = { resources: new Map(), lookups: new Map() };

/** Resolves with what ended it. Never rejects: every end is one to come back from. */
export function runStream(options: StreamOptions): Promise<StreamEnd> {
  return new ConfigStream(options).run();
}

class ConfigStream {
  readonly #options: StreamOptions;
  readonly #first: readonly DeltaRequest[];
  readonly #staging: Staging;
  readonly #stream: ClientDuplexStream<DeltaRequest, Buffer>;
  readonly #ended = Promise.withResolvers<StreamEnd>();
  readonly #onAbort = (): void =>
    this.#finish(messageOf(this.#options.signal.reason));
  #cancelFirst: Cancel = () => undefined;
  #opened = false;
  #over = false;
  #reading = false;
  /** The store that the newest Revision said: the next one may leave it out. */
  #store = "";
  /** Bytes that wait to be read, or are being read. */
  #unread = 0;
  /** Messages that came, and are not acknowledged. */
  #unanswered = 0;
  /** Those that came before the one before was acknowledged. */
  #unasked = 0;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { held, maxConfigBytes } = options;
    const { messages, says } = firstRequest(this.#asking(), held);
    this.#first = messages;
    this.#staging = makeStaging(says ? held : NOTHING, maxConfigBytes);
    const method = DISCOVERY.DeltaAggregatedResources;
    this.#stream = openStream(options.client, {
      ...method,
      responseDeserialize: (bytes) => {
        this.#arrived(bytes.length);
        return method.responseDeserialize(bytes);
      },
    });
  }

  run(): Promise<StreamEnd> {
    const { clock, signal } = this.#options;
    this.#cancelFirst = clock.after(FIRST_MESSAGE, () =>
      this.#finish(
        `the control plane did not respond within ${FIRST_MESSAGE / 1000} s`,
      ),
    );
    // Not "data": a message is taken once there is time for it, and the others wait on their way here.
    this.#stream.on("readable", () => {
      this.#readAll().catch((thrown: unknown) =>
        this.#unusable(`a message cannot be dealt with: ${messageOf(thrown)}`),
      );
    });
    this.#stream.on("error", (error: Partial<ServiceError>) =>
      this.#onError(error),
    );
    this.#stream.on("end", () =>
      this.#finish("the control plane ended the stream"),
    );
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    else for (const message of this.#first) this.#stream.write(message);
    return this.#ended.promise;
  }

  #finish(reason: string, mad = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelFirst();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#stream.cancel();
    this.#ended.resolve({ reason, mad });
  }

  #asking(): DeltaRequest {
    const { node, subscribe } = this.#options;
    return request({
      node,
      typeUrl: RESOURCE_TYPE,
      subscribe: subscribe?.((change) => this.#resubscribe(change)) ?? [
        EVERYTHING,
      ],
    });
  }

  #resubscribe(change: Subscriptions): void {
    if (!this.#over)
      this.#stream.write(request({ ...change, typeUrl: RESOURCE_TYPE }));
  }

  #arrived(bytes: Bytes): void {
    this.#unread += bytes;
    if (this.#unanswered > 0) this.#unasked += 1;
    this.#unanswered += 1;
    if (this.#unasked > MOST_UNASKED || this.#unread > MOST_UNREAD)
      this.#unusable(
        `the control plane does not wait for acknowledgements: more than ${MOST_UNASKED} messages, or ${MOST_UNREAD} bytes`,
      );
  }

  /** One message after the other. */
  async #readAll(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    while (!this.#over) {
      const bytes = this.#stream.read() as Buffer | null;
      if (bytes === null) break;
      await this.#onMessage(bytes);
    }
    this.#reading = false;
  }

  /** Never rejects. */
  async #onMessage(bytes: Buffer): Promise<void> {
    const { work } = this.#options;
    if (!this.#opened) {
      this.#opened = true;
      this.#cancelFirst();
      this.#options.onOpen();
    }
    try {
      work.spend(MESSAGE_COST);
      const head = await work.run(readHead(bytes));
      if (!this.#over) await this.#receive(head, bytes);
    } catch (thrown) {
      // The bytes are not a message: nothing that follows on this stream can be trusted to be one.
      this.#unusable(
        `the control plane sent what cannot be read: ${messageOf(thrown)}`,
      );
    }
    this.#unread -= bytes.length;
  }

  /** Nothing that this control plane sends is of use. */
  #unusable(reason: string): void {
    if (this.#over) return;
    this.#options.onUnusable(undefined, reason);
    this.#finish(reason, true);
  }

  #onError(error: Partial<ServiceError>): void {
    const reason = error.details ?? error.message ?? "the stream failed";
    if (error.code === status.UNAUTHENTICATED) this.#options.onRefused?.();
    // A message over the limit: the client gives up the stream before it has read it.
    if (error.code === status.RESOURCE_EXHAUSTED) this.#unusable(reason);
    else this.#finish(reason);
  }

  async #receive(head: ResponseHead, bytes: Buffer): Promise<void> {
    if (head.typeUrl === REVISION_TYPE) {
      await this.#completePush(head, readRevision(bytes));
      return;
    }
    if (head.typeUrl === TRUST_TYPE) {
      await this.#acknowledge(head, await this.#trust(bytes));
      return;
    }
    await this.#options.work.run(this.#staging.stage(readParts(bytes)));
    const { closing } = head;
    const { hopeless } = this.#staging;
    if (closing !== undefined && hopeless === undefined) {
      const store = closing.store === "" ? this.#store : closing.store;
      await this.#completePush(head, whole({ ...closing, store }));
      return;
    }
    await this.#acknowledge(head, hopeless);
    if (hopeless !== undefined) this.#unusable(hopeless);
  }

  /** Resolves with why the roots that came are not those that count. Throws on bytes that are none. */
  async #trust(bytes: Buffer): Promise<string | undefined> {
    const resource = onlyResource(bytes);
    return resource === undefined
      ? "a message of roots must hold one bundle"
      : this.#options.onTrust(signedTrust.decode(resource.value));
  }

  /** What comes meanwhile belongs to the next push, which waits for this one. */
  async #completePush(
    head: ResponseHead,
    revision: Revision | string,
  ): Promise<void> {
    if (typeof revision === "string") {
      this.#options.onUnusable(undefined, revision);
      await this.#acknowledge(head, revision);
      return;
    }
    this.#store = revision.store;
    const sealed = await this.#options.work.run(this.#staging.seal(revision));
    if (this.#over) return;
    switch (sealed.kind) {
      case "incomplete":
        this.#finish("the config has to be sent again from the start");
        return;
      case "refused":
        this.#options.onUnusable(revision, sealed.reason);
        await this.#acknowledge(head, sealed.reason);
        return;
      case "resources": {
        const { refused, unread } = await this.#options.onPush(
          revision,
          sealed,
        );
        await this.#acknowledge(head, refused, unread);
      }
    }
  }

  /** Every message gets one acknowledgement; `refused` says why it is not used. Resolves when it is on its way: a control plane that reads none is not read either. */
  async #acknowledge(
    { typeUrl, nonce }: ResponseHead,
    refused: string | undefined,
    unread?: UnreadReport,
  ): Promise<void> {
    // What has come meanwhile was not asked for: it is counted before it could have been.
    await nextTurn();
    this.#unanswered -= 1;
    if (this.#over) return;
    const acknowledgement = request({
      typeUrl,
      nonce,
      ...(unread === undefined ? {} : { unread }),
      error:
        refused === undefined
          ? undefined
          : { code: status.INVALID_ARGUMENT, message: refused },
    });
    await new Promise<void>((resolve) => {
      this.#stream.write(acknowledgement, () => resolve());
    });
  }
}

function request(fields: Partial<DeltaRequest>): DeltaRequest {
  return {
    node: undefined,
    typeUrl: "",
    subscribe: [],
    unsubscribe: [],
    initialVersions: new Map(),
    nonce: "",
    error: undefined,
    ...fields,
  };
}

/** The Revision, or what is wrong with the message. Throws on bytes that are none. */
function readRevision(bytes: Buffer): Revision | string {
  if (bytes.length > LONGEST_REVISION)
    return `a Revision message of ${bytes.length} bytes is too long`;
  const resource = onlyResource(bytes);
  return resource === undefined
    ? "a Revision message must hold one Revision"
    : whole(revisionCodec.decode(resource.value));
}

/** Undefined where the message holds none, or several. */
function onlyResource(bytes: Buffer): DeltaResource | undefined {
  const resources: DeltaResource[] = [];
  for (const part of readParts(bytes)) {
    if (typeof part === "object") resources.push(part);
    if (resources.length > 1) return undefined;
  }
  return resources[0];
}

/** The Revision, or what it lacks. */
function whole(revision: Revision): Revision | string {
  return revision.store === "" ||
    revision.digest === "" ||
    !Number.isSafeInteger(revision.revision)
    ? "the Revision has no store, number or digest"
    : revision;
}
