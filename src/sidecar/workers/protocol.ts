/** What the threads of a sidecar tell each other. The main thread runs the agent, the pages and the shutdown; a thread serves. */
import type { SharedConfig, Sighting } from "../../agent/agent.ts";
import type { Named, NotKnown, Want } from "../../agent/interest/lookups.ts";
import type { SharedStateData } from "../../core/shared/shared-state.ts";
import type { VirtualName } from "../../proxy/dns/virtual-addresses.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import type { LocalConnections } from "../../proxy/downstream/acceptor.ts";
import type { Observed, Outside } from "../../push/messages.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { SpanRecord } from "../../telemetry/tracing.ts";
import type { SidecarSettings } from "../settings.ts";
import type { ClustersView, OverloadView, WorkerView } from "./views.ts";
import type { Side } from "./worker.ts";

/** What a thread begins with. */
export interface ThreadData {
  readonly worker: number;
  /** What it is to listen on once it is asked to begin; its own to close. */
  readonly handed: readonly ListeningSocket[];
  readonly sharedState: SharedStateData;
  /** Every port is one that the first worker listens on already. */
  readonly settings: SidecarSettings;
  /** Spans are to be made; with the percentage in place of the Mesh's, where there is one. */
  readonly tracing: { readonly samplingPercentage?: number } | undefined;
  readonly log: {
    readonly level: string;
    readonly bindings: Readonly<Record<string, string>>;
  };
}

/** A question is answered by an `answer` with its number. */
export type Question =
  /** Some of what a config changes: as many as are read without a pause of the event loop. */
  | { readonly ask: "stage"; readonly changed: readonly Resource[] }
  /** Compiles what was staged, and what else the config changes, of the one in force and keeps it ready: undefined, or the reason why it cannot be used. */
  | { readonly ask: "compile"; readonly config: SharedConfig }
  /** Puts what was compiled last in force. */
  | { readonly ask: "swap" }
  | { readonly ask: "metrics" }
  | { readonly ask: "clusters" }
  | { readonly ask: "overload" }
  | { readonly ask: "worker" }
  /** Asked anew each time: what a thread had reported, it may have reported before it stood still. */
  | { readonly ask: "localConnections" }
  /** Accepts connections on what was handed over. */
  | { readonly ask: "begin" }
  /** Their descriptors are the process's. */
  | { readonly ask: "sockets" }
  /** From now on each address stands for its host. */
  | { readonly ask: "virtual"; readonly names: readonly VirtualName[] }
  /** Ends everything, and gives away what is left to tell. */
  | { readonly ask: "end" };

export interface Answers {
  readonly stage: undefined;
  readonly compile: string | undefined;
  readonly swap: undefined;
  readonly metrics: string;
  readonly clusters: ClustersView;
  readonly overload: OverloadView;
  readonly worker: WorkerView;
  readonly localConnections: LocalConnections;
  readonly begin: undefined;
  readonly sockets: readonly ListeningSocket[];
  readonly virtual: undefined;
  /** Its last metrics. */
  readonly end: string;
}

/** What becomes of a `look`: the Service may be used, or all questions are resolved; or why neither. */
export type Looked =
  | { readonly kind: "granted" }
  | { readonly kind: "known" }
  | { readonly kind: "failed"; readonly failure: NotKnown };

export type ToThread =
  | (Question & { readonly number: number })
  | { readonly tell: "credentials"; readonly credentials: Credentials }
  | { readonly tell: "ownPorts"; readonly ports: readonly number[] }
  | { readonly tell: "level"; readonly level: string }
  /** No new connections on this side; reports of what is in flight from now on. */
  | { readonly tell: "refuse"; readonly side: Side }
  /** The same on both, for a process that listens there already. */
  | { readonly tell: "retire" }
  /** What is in flight ends, as far as there are words for it. */
  | { readonly tell: "depart" }
  | { readonly tell: "spansTaken" }
  | {
      readonly tell: "looked";
      readonly number: number;
      readonly looked: Looked;
    }
  /** What is held no longer; to be asked for again. */
  | { readonly tell: "forget"; readonly forgotten: Named }
  /** A block of the access log, given back. */
  | { readonly tell: "written"; readonly block: Uint8Array };

export type FromThread =
  | { readonly kind: "open" }
  /** It cannot begin. */
  | { readonly kind: "failed"; readonly message: string }
  | {
      readonly kind: "answer";
      readonly number: number;
      readonly value: unknown;
    }
  /** A `looked` with its number follows. */
  | { readonly kind: "look"; readonly number: number; readonly want: Want }
  /** What calls went by in the last minute. */
  | { readonly kind: "used"; readonly used: Named }
  /** What it has seen of endpoints that are marked as unconfirmed. */
  | { readonly kind: "sighted"; readonly sightings: readonly Sighting[] }
  /** The calls that have come in. */
  | { readonly kind: "observed"; readonly observed: Observed }
  /** The calls that leave the mesh. */
  | { readonly kind: "outside"; readonly outside: Outside }
  | { readonly kind: "active"; readonly active: Record<Side, number> }
  | { readonly kind: "spans"; readonly spans: readonly SpanRecord[] }
  /** Whole lines of the access log; `last` is not given back. */
  | {
      readonly kind: "lines";
      readonly block: Uint8Array;
      readonly length: number;
      readonly last: boolean;
    };
