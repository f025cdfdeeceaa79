/**
 * Exchanges that have no end of their own, judged anew whenever policy changes: tunnels, WebSockets, streams of events, and gRPC calls
 * without a deadline, or with one that is far. An open connection must not outlive the DENY that forbids it.
 *
 * Any other request ends with the snapshot that it started with (law 1); these would never see another one.
 */
import type { Cancel, Clock } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Watch } from "../../core/watch.ts";
import type { ServerConnectionInfo } from "../../wire/exchange.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import type { IdleWatcher } from "./time/idle.ts";

/** Why policy, as it is now, refuses an exchange that it once let through; undefined where it does not. */
export type Judge = (
  snapshot: Snapshot,
  stream: ServerStream,
) => MeshError | undefined;

/** Connections of callers that no longer stand, and why: all that is open on them is refused. */
export type Fallen = WeakMap<ServerConnectionInfo, MeshError>;

/** Ends an exchange that has no end of its own: in the words of its protocol, or else by breaking it off. */
export function conclude(
  exchange: {
    readonly stream: Pick<ServerStream, "conclude">;
    giveUp(error: MeshError): void;
  },
  error: MeshError,
): void {
  if (exchange.stream.conclude?.(error) !== true) exchange.giveUp(error);
}

/** Why an exchange is concluded whose side of the proxy is on its way out. */
export function leaving(): MeshError {
  return new MeshError("DRAINING", "", { source: "proxy" });
}

/** Milliseconds: a call that may last for longer counts as one without an end. Its caller chooses the deadline, and might choose years. */
const LASTING = 60_000;

export function lasts(deadline: number, now: number): boolean {
  return deadline - now > LASTING;
}

/** How often policy has changed: an exchange that turns out to have no end compares it with what it was at its start. */
export interface PolicyAge {
  changes: number;
  current: Snapshot | undefined;
}

/** Exchanges that are looked at in one turn of the event loop: a change must not be felt by the others (law 16). */
const SLICE = 256;

/** Looks at the exchanges of `idle` at each change of `snapshot`, and whenever more connections have fallen. Returns the way to stop. */
export function judgeOpenEnds(
  clock: Clock,
  snapshot: Watch<Snapshot | undefined>,
  fallen: Watch<number>,
  idle: Pick<IdleWatcher, "idlers">,
  age: PolicyAge,
): Cancel {
  let next: Cancel | undefined;
  /** Policy has changed since the round began: another one follows it. Were the round begun anew, the last would never be reached. */
  let changed = false;
  const look = (from: number): void => {
    next = undefined;
    const { value } = snapshot;
    const { idlers } = idle;
    if (value === undefined) return;
    // From the end: where one leaves, the last one takes its place, and that one has been looked at or is younger than the change.
    let at = Math.min(from, idlers.length);
    for (const stop = Math.max(0, at - SLICE); at > stop; at -= 1)
      idlers[at - 1]?.rejudge?.(value);
    if (at === 0 && changed) {
      changed = false;
      at = idlers.length;
    }
    if (at > 0) next = clock.after(0, () => look(at));
  };
  const change = (): void => {
    age.changes += 1;
    age.current = snapshot.value;
    changed = next !== undefined;
    if (!changed) look(idle.idlers.length);
  };
  const stops = [snapshot.subscribe(change), fallen.subscribe(change)];
  return () => {
    for (const stop of stops) stop();
    next?.();
  };
}
