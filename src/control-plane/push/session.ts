/** One sidecar's stream: sends it what it lacks, one message at a time, and remembers what it took and what it refused. */
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import {
  assembleResponse,
  encodeResource,
  revision,
} from "../../push/codec.ts";
import type { DeltaRequest, Node } from "../../push/messages.ts";
import {
  NODE,
  RESOURCE_TYPE,
  REVISION_NAME,
  REVISION_TYPE,
} from "../../push/names.ts";
import {
  difference,
  type Entry,
  type Held,
  type ScopedSet,
} from "./catalogue.ts";
import type { Feed } from "./feed.ts";
import { GrpcError } from "./grpc.ts";
import { workloadOf, type Peer } from "./peer.ts";
import type { ConfigVersion, SidecarConfig, SidecarStatus } from "./status.ts";

/** Bytes of resources in a message: what a sidecar that reads nothing can make us hold for it. */
const CHUNK = 512 * 1024;
/** What a refusal's reason is cut to: it comes from the peer and is kept. */
const LONGEST_REASON = 2048;

/** Counts that all sessions add to. */
export interface Counters {
  pushes: number;
  acknowledged: number;
  refused: number;
  resources: number;
  removed: number;
  bytes: number;
}

export interface SessionOptions {
  readonly peer: Peer;
  readonly call: ServerDuplexStream<DeltaRequest, Buffer>;
  readonly feed: Feed;
  /** UUID of the store. */
  readonly store: string;
  /** Whether an operator lets this store take the place of the one that the sidecar knows, or its own later past. */
  readonly accepted: (known: { readonly store: string }) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly onEnd: () => void;
}

export interface Session {
  readonly peer: Peer;
  readonly status: SidecarStatus;
  /** The resources of the last push that it acknowledged on this stream; undefined where there is none yet. */
  readonly inForce: SidecarConfig | undefined;
  /** The catalogue changed: push, or push when the answer to the last push is here. */
  settled(): void;
  /** Whether the config of this sidecar should hold the resource, holds it, or was refused with it. */
  standing(name: string, version: string): Standing;
  /** Sends the Revision again, now that the store is accepted. */
  acceptedNow(): void;
  end(code: status, reason: string): void;
}

export interface Standing {
  readonly inScope: boolean;
  readonly inForce: boolean;
  readonly refused: boolean;
}

type Message =
  | {
      readonly kind: "resources";
      readonly changed: readonly Entry[];
      readonly removed: readonly string[];
    }
  | { readonly kind: "revision" };

interface Push {
  readonly set: ScopedSet;
  readonly version: ConfigVersion;
  readonly rest: Message[];
  nonce: string;
  awaiting: Message["kind"];
}

/** Serves the stream; it ends with its connection, which does not outlive the peer's certificate. The first push goes out when the sidecar has said what it holds. */
export function startSession(options: SessionOptions): Session {
  const { peer, call, feed, clock, counters } = options;
  const logger = options.logger.child({ sidecar: workloadOf(peer) });
  const connectedSince = clock.wall();
  let node: Node | undefined;
  let held: Held = new Map();
  let heldDigest: string | undefined;
  let push: Push | undefined;
  let dirty = false;
  let messages = 0;
  let ended = false;
  let inForce: ScopedSet | undefined;
  let acknowledged: ConfigVersion | undefined;
  let receivedAt: number | undefined;
  let refusal:
    | { set: ScopedSet; version: ConfigVersion; reason: string; at: number }
    | undefined;

  const wanted = (): ScopedSet => feed.catalogue.scopeOf(peer);

  const startPush = (): void => {
    dirty = false;
    const set = wanted();
    const { changed, removed } = difference(held, set);
    const version = {
      store: options.store,
      revision: feed.revision,
      digest: set.digest,
    };
    const rest: Message[] = [...chunks(changed, removed), { kind: "revision" }];
    push = { set, version, rest, nonce: "", awaiting: "revision" };
    counters.pushes += 1;
    counters.resources += changed.length;
    counters.removed += removed.length;
    sendNext(push);
  };

  const sendNext = (current: Push): void => {
    const message = current.rest.shift();
    if (message === undefined || ended) return;
    messages += 1;
    current.nonce = String(messages);
    current.awaiting = message.kind;
    const bytes =
      message.kind === "resources"
        ? assembleResponse(
            {
              systemVersion: String(current.version.revision),
              typeUrl: RESOURCE_TYPE,
              nonce: current.nonce,
              removed: message.removed,
            },
            message.changed.map((entry) => entry.encoded()),
          )
        : revisionMessage(current);
    counters.bytes += bytes.length;
    call.write(bytes);
  };

  const revisionMessage = ({ version, nonce }: Push): Buffer => {
    const known = acknowledged ?? version;
    const value = revision.encode({
      ...version,
      accepted: options.accepted(known),
    });
    return assembleResponse(
      {
        systemVersion: String(version.revision),
        typeUrl: REVISION_TYPE,
        nonce,
        removed: [],
      },
      [
        encodeResource({
          name: REVISION_NAME,
          version: String(version.revision),
          typeUrl: REVISION_TYPE,
          value,
        }),
      ],
    );
  };

  const greet = (request: DeltaRequest): void => {
    if (request.node === undefined || request.typeUrl !== RESOURCE_TYPE) {
      end(
        status.INVALID_ARGUMENT,
        `a stream starts with its node and type ${RESOURCE_TYPE}`,
      );
      return;
    }
    node = request.node;
    const { metadata } = node;
    const store = metadata[NODE.store];
    const known = Number(metadata[NODE.revision]);
    if (store !== undefined && Number.isSafeInteger(known))
      acknowledged = {
        store,
        revision: known,
        digest: metadata[NODE.digest] ?? "",
      };
    const received = Number(metadata[NODE.receivedAt]);
    if (received > 0) receivedAt = received;
    // Versions of another history compare with nothing: only the names count then, and all is sent.
    const comparable = store === options.store && known <= feed.revision;
    held = new Map(
      Array.from(request.initialVersions, ([name, version]) => [
        name,
        { version: comparable ? version : "" },
      ]),
    );
    startPush();
  };

  const answered = (current: Push, request: DeltaRequest): void => {
    const { error } = request;
    if (current.awaiting === "resources" && error === undefined) {
      sendNext(current);
      return;
    }
    push = undefined;
    if (error === undefined) {
      counters.acknowledged += 1;
      acknowledged = current.version;
      inForce = current.set;
      receivedAt = clock.wall();
      refusal = undefined;
    } else {
      counters.refused += 1;
      const reason = error.message.slice(0, LONGEST_REASON);
      refusal = {
        set: current.set,
        version: current.version,
        reason,
        at: clock.wall(),
      };
      logger.warn(
        { revision: current.version.revision, reason },
        "the sidecar refused its config and keeps what it has",
      );
    }
    if (current.awaiting === "resources") {
      // What it holds now is unknown: it says so itself when it comes back.
      end(status.FAILED_PRECONDITION, "a part of a push was refused");
      return;
    }
    // A sidecar that refuses keeps what it was sent beside what it serves, so that the next push need not repeat it.
    held = current.set.entries;
    heldDigest = current.set.digest;
    if (dirty) settled();
  };

  const settled = (): void => {
    if (node === undefined || ended) return;
    if (push !== undefined) dirty = true;
    else if (wanted().digest !== heldDigest) startPush();
  };

  const end = (code: status, reason: string): void => {
    if (ended) return;
    finish();
    // The error becomes the stream's status; what was written before it still goes out.
    call.emit("error", new GrpcError(code, reason));
  };

  const finish = (): void => {
    if (ended) return;
    ended = true;
    push = undefined;
    options.onEnd();
  };

  call.on("data", (request: DeltaRequest) => {
    if (ended) return;
    if (node === undefined) greet(request);
    else if (push !== undefined && request.nonce === push.nonce)
      answered(push, request);
  });
  call.on("cancelled", finish);
  call.on("error", finish);
  call.on("close", finish);
  call.on("end", () => {
    finish();
    call.end();
  });

  return {
    peer,
    settled,
    end,
    get inForce() {
      return inForce === undefined || acknowledged === undefined
        ? undefined
        : {
            version: acknowledged,
            latest: inForce.digest === wanted().digest,
            resources: Array.from(
              inForce.entries.values(),
              ({ resource }) => resource,
            ),
          };
    },
    acceptedNow() {
      if (refusal !== undefined && push === undefined && !ended) startPush();
    },
    standing(name, version) {
      const has = (set: ScopedSet | undefined): boolean =>
        Number(set?.entries.get(name)?.version) >= Number(version);
      return {
        inScope: wanted().entries.has(name),
        inForce: has(inForce),
        refused: has(refusal?.set),
      };
    },
    get status() {
      const { name, namespace, serviceAccount, labels, identity } = peer;
      return {
        name,
        namespace,
        serviceAccount,
        labels,
        identity,
        connected: !ended,
        connectedSince,
        peer: peer.address,
        ...(acknowledged === undefined ? {} : { acknowledged }),
        ...(receivedAt === undefined ? {} : { configReceivedAt: receivedAt }),
        ...(refusal === undefined
          ? {}
          : {
              refused: {
                version: refusal.version,
                reason: refusal.reason,
                at: refusal.at,
              },
            }),
        pending: push !== undefined,
        certificateExpiresAt: peer.certificateExpiresAt,
        agent: {
          version: node?.metadata[NODE.version] ?? "",
          schema: Number(node?.metadata[NODE.schema] ?? 0),
        },
      };
    },
  };
}

/** Removals first: a set that shrinks and grows at once is smallest that way. */
function* chunks(
  changed: readonly Entry[],
  removed: readonly string[],
): Generator<Message> {
  let chunk: Entry[] = [];
  let names = removed;
  let size = 0;
  for (const entry of changed) {
    const length = entry.encoded().length;
    if (size > 0 && size + length > CHUNK) {
      yield { kind: "resources", changed: chunk, removed: names };
      chunk = [];
      names = [];
      size = 0;
    }
    chunk.push(entry);
    size += length;
  }
  if (chunk.length > 0 || names.length > 0)
    yield { kind: "resources", changed: chunk, removed: names };
}
