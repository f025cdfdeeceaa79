/** What a proxy asks of the agent of a sidecar that holds what it uses, and not all that it may use. */
import type { HeldView } from "./held-view.ts";
import type { Cancel } from "../../core/clock.ts";
import type { Destination } from "../../policy/snapshot.ts";

/** What has to be known before a request may go on. */
export interface Want {
  /** "NAMESPACE/NAME" of the Service that the snapshot leads to; undefined where it leads to none. */
  readonly service: string | undefined;
  /** Names of questions (`push/interest.ts`): with their results comes all that the request may lead to. */
  readonly questions: readonly string[];
}

/** Why it is not known, and will not be in time. */
export interface NotKnown {
  /** The control plane is away; it did not respond in time; too much is asked already; the config with the result was refused. */
  readonly kind: "gone" | "late" | "busy" | "refused";
  readonly detail: string;
}

export type OnKnown = (failure: NotKnown | undefined) => void;

export interface Lookups {
  /** Whether a call may go by the destination as the snapshot has it. Notes that its Service is used: one look-up where that is known. */
  holds(destination: Destination): boolean;
  /** Whether the question is resolved: then what the snapshot lacks is not there. */
  knows(question: string): boolean;
  /** Calls `done` once, as soon as all of it is known or will not be; that may be before this returns. */
  look(want: Want, done: OnKnown): void;
}

/** Services, as "NAMESPACE/NAME", and questions by their names. */
export interface Named {
  readonly services: readonly string[];
  readonly questions: readonly string[];
}

/** What the threads of a sidecar, its pages and its proxy have of the agent's interest besides. */
export interface SharedLookups extends Lookups {
  /** All that may be used is held, whatever was asked: there is nothing to learn. */
  readonly everything: boolean;
  /** Notes a call to the Service; false where what is held of it is not enough for calls. */
  use(service: string): boolean;
  /** What is held, and why. */
  held(): HeldView;
  /** What others that look by this one have used. */
  mark(used: Named): void;
  /** Tells of what is of no use any more: it has to be asked again. */
  onForget(listener: (forgotten: Named) => void): Cancel;
  /** Services with open exchanges, which are in use however long ago these began. */
  watchExchanges(services: () => Iterable<string>): Cancel;
}
