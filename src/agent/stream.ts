/** One config stream from its opening to its end: says what is held, stages what comes, answers each message once. */
import { status, type Client, type ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { deltaResponse, revision as revisionCodec } from "../push/codec.ts";
import type {
  DeltaRequest,
  DeltaResponse,
  Node,
  Revision,
} from "../push/messages.ts";
import { RESOURCE_TYPE, REVISION_TYPE } from "../push/names.ts";
import { DISCOVERY } from "../push/services.ts";
import { openStream } from "./connection.ts";
import { makeStaging, type ReceivedResources } from "./staging.ts";

export interface StreamOptions {
  readonly client: Client;
  readonly node: Node;
  /** What is in force when the stream opens. */
  readonly held: ReceivedResources;
  readonly maxConfigBytes: number;
  readonly clock: Clock;
  /** Ends the stream. */
  readonly signal: AbortSignal;
  /** The control plane has answered. */
  readonly onOpen: () => void;
  /** A push is complete: puts it in force, or gives the reason why not. May not reject. */
  readonly onPush: (
    revision: Revision,
    resources: ReceivedResources,
  ) => Promise<{ readonly refused?: string }>;
  /** A push is complete and cannot be used as it came. */
  readonly onUnusable: (revision: Revision | undefined, reason: string) => void;
}

/** Milliseconds that a control plane has for its first message. */
const FIRST_MESSAGE = 15_000;

/** Resolves with what ended it. Never rejects: every end is one to come back from. */
export function runStream(options: StreamOptions): Promise<string> {
  const { client, clock, signal } = options;
  const staging = makeStaging(options.held, options.maxConfigBytes);
  const stream = openStream(client, DISCOVERY.DeltaAggregatedResources);
  return new Promise((resolve) => {
    let opened = false;
    let over = false;
    const finish = (reason: string): void => {
      if (over) return;
      over = true;
      cancelFirst();
      signal.removeEventListener("abort", onAbort);
      stream.cancel();
      resolve(reason);
    };
    const onAbort = (): void => finish(messageOf(signal.reason));
    const cancelFirst = clock.after(FIRST_MESSAGE, () =>
      finish(
        `the control plane did not answer within ${FIRST_MESSAGE / 1000} s`,
      ),
    );

    const answer = (
      message: DeltaResponse,
      refused: string | undefined,
    ): void => {
      stream.write(
        request({
          typeUrl: message.typeUrl,
          nonce: message.nonce,
          error:
            refused === undefined
              ? undefined
              : { code: status.INVALID_ARGUMENT, message: refused },
        }),
      );
    };

    const close = (message: DeltaResponse): void => {
      const revision = readRevision(message);
      if (typeof revision === "string") {
        options.onUnusable(undefined, revision);
        answer(message, revision);
        return;
      }
      const sealed = staging.seal(revision);
      switch (sealed.kind) {
        case "incomplete":
          finish("the config has to be sent again from the start");
          return;
        case "refused":
          options.onUnusable(revision, sealed.reason);
          answer(message, sealed.reason);
          return;
        case "resources":
          // What comes meanwhile belongs to the next push, which waits for this one.
          void options
            .onPush(revision, sealed.resources)
            .then(({ refused }) => {
              if (!over) answer(message, refused);
            });
      }
    };

    const receive = (bytes: Buffer): void => {
      const message = deltaResponse.decode(bytes);
      if (message.typeUrl === REVISION_TYPE) close(message);
      else {
        staging.stage(message);
        answer(message, undefined);
      }
    };

    stream.on("data", (bytes: Buffer) => {
      if (over) return;
      if (!opened) {
        opened = true;
        cancelFirst();
        options.onOpen();
      }
      try {
        receive(bytes);
      } catch (thrown) {
        // Bytes that are no message: nothing that follows on this stream can be trusted to be one.
        const reason = `the control plane sent what cannot be read: ${messageOf(thrown)}`;
        options.onUnusable(undefined, reason);
        finish(reason);
      }
    });
    stream.on("error", (thrown: Partial<ServiceError>) => {
      const reason = thrown.details ?? thrown.message ?? "the stream failed";
      // A message over the limit: the client gives up the stream before it has read it.
      if (thrown.code === status.RESOURCE_EXHAUSTED)
        options.onUnusable(undefined, reason);
      finish(reason);
    });
    stream.on("end", () => finish("the control plane ended the stream"));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) {
      onAbort();
      return;
    }
    stream.write(
      request({
        node: options.node,
        typeUrl: RESOURCE_TYPE,
        subscribe: ["*"],
        initialVersions: new Map(
          Array.from(options.held, ([name, { version }]) => [name, version]),
        ),
      }),
    );
  });
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
