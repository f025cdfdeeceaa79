/** One config stream from its opening to its end: says what is held, stages what comes, answers each message once. */
import {
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Bytes } from "../core/units.ts";
import { deltaResponse, revision as revisionCodec } from "../push/codec.ts";
import { EVERYTHING } from "../push/interest.ts";
import type {
  DeltaRequest,
  DeltaResponse,
  Node,
  Revision,
} from "../push/messages.ts";
import { RESOURCE_TYPE, REVISION_TYPE } from "../push/names.ts";
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
  ) => Promise<{ readonly refused?: string }>;
  /** A push is complete and cannot be used as it came. */
  readonly onUnusable: (revision: Revision | undefined, reason: string) => void;
}

/** Milliseconds that a control plane has for its first message. */
const FIRST_MESSAGE = 15_000;
const NOTHING: ReceivedConfig = { resources: new Map(), lookups: new Map() };

/** Resolves with what ended it. Never rejects: every end is one to come back from. */
export function runStream(options: StreamOptions): Promise<string> {
  return new ConfigStream(options).run();
}

class ConfigStream {
  readonly #options: StreamOptions;
  readonly #first: readonly DeltaRequest[];
  readonly #staging: Staging;
  readonly #stream: ClientDuplexStream<DeltaRequest, Buffer>;
  readonly #ended = Promise.withResolvers<string>();
  readonly #onAbort = (): void =>
    this.#finish(messageOf(this.#options.signal.reason));
  #cancelFirst: Cancel = () => undefined;
  #opened = false;
  #over = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { held, maxConfigBytes } = options;
    const { messages, says } = firstRequest(this.#asking(), held);
    this.#first = messages;
    this.#staging = makeStaging(says ? held : NOTHING, maxConfigBytes);
    this.#stream = openStream(
      options.client,
      DISCOVERY.DeltaAggregatedResources,
    );
  }

  run(): Promise<string> {
    const { clock, signal } = this.#options;
    this.#cancelFirst = clock.after(FIRST_MESSAGE, () =>
      this.#finish(
        `the control plane did not respond within ${FIRST_MESSAGE / 1000} s`,
      ),
    );
    this.#stream.on("data", (bytes: Buffer) => this.#onData(bytes));
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

  #finish(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelFirst();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#stream.cancel();
    this.#ended.resolve(reason);
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

  #onData(bytes: Buffer): void {
    if (this.#over) return;
    if (!this.#opened) {
      this.#opened = true;
      this.#cancelFirst();
      this.#options.onOpen();
    }
    try {
      this.#receive(deltaResponse.decode(bytes));
    } catch (thrown) {
      // The bytes are not a message: nothing that follows on this stream can be trusted to be one.
      const reason = `the control plane sent what cannot be read: ${messageOf(thrown)}`;
      this.#options.onUnusable(undefined, reason);
      this.#finish(reason);
    }
  }

  #onError(error: Partial<ServiceError>): void {
    const reason = error.details ?? error.message ?? "the stream failed";
    if (error.code === status.UNAUTHENTICATED) this.#options.onRefused?.();
    // A message over the limit: the client gives up the stream before it has read it.
    if (error.code === status.RESOURCE_EXHAUSTED)
      this.#options.onUnusable(undefined, reason);
    this.#finish(reason);
  }

  #receive(message: DeltaResponse): void {
    if (message.typeUrl === REVISION_TYPE) this.#completePush(message);
    else {
      this.#staging.stage(message);
      this.#acknowledge(message, undefined);
    }
  }

  #completePush(message: DeltaResponse): void {
    const revision = readRevision(message);
    if (typeof revision === "string") {
      this.#options.onUnusable(undefined, revision);
      this.#acknowledge(message, revision);
      return;
    }
    const sealed = this.#staging.seal(revision);
    switch (sealed.kind) {
      case "incomplete":
        this.#finish("the config has to be sent again from the start");
        return;
      case "refused":
        this.#options.onUnusable(revision, sealed.reason);
        this.#acknowledge(message, sealed.reason);
        return;
      case "resources":
        // What comes meanwhile belongs to the next push, which waits for this one.
        void this.#options.onPush(revision, sealed).then(({ refused }) => {
          if (!this.#over) this.#acknowledge(message, refused);
        });
    }
  }

  /** Every message gets one acknowledgement; `refused` says why it is not used. */
  #acknowledge(message: DeltaResponse, refused: string | undefined): void {
    this.#stream.write(
      request({
        typeUrl: message.typeUrl,
        nonce: message.nonce,
        error:
          refused === undefined
            ? undefined
            : { code: status.INVALID_ARGUMENT, message: refused },
      }),
    );
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

/** The Revision, or what is wrong with the message. */
function readRevision({ resources }: DeltaResponse): Revision | string {
  const [resource, ...more] = resources;
  if (resource === undefined || more.length > 0)
    return "a Revision message must hold one Revision";
  const revision = revisionCodec.decode(resource.value);
  return revision.store === "" ||
    revision.digest === "" ||
    !Number.isSafeInteger(revision.revision)
    ? "the Revision has no store, number or digest"
    : revision;
}
