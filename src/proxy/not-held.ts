/** What is called and not held: it is asked for once, and the call waits for it (ADR 040). */
import type { Clock } from "../core/clock.ts";
import type { Lookups, NotKnown, OnKnown } from "../agent/interest/lookups.ts";
import { MeshError } from "../mesh/errors.ts";
import type { Destination } from "../policy/snapshot.ts";
import { formatName } from "../resources/envelope.ts";
import type { Meters } from "../telemetry/meters.ts";

/** Asks, and calls `done` once it is known or will not be. */
export type Look = (done: OnKnown) => void;

/** Whether a call may go by the destination at once: one look-up where it was called before. `lookups` undefined: all is held. */
export function isHeld(
  lookups: Lookups | undefined,
  destination: Destination | undefined,
): boolean {
  return (
    lookups === undefined ||
    (destination !== undefined && lookups.holds(destination))
  );
}

/** How to learn of what is not held; undefined where it is known that there is nothing to learn. */
export function lookFor(
  lookups: Lookups | undefined,
  destination: Destination | undefined,
  questions: readonly string[],
): Look | undefined {
  if (lookups === undefined) return undefined;
  const service =
    destination === undefined
      ? undefined
      : formatName(destination.service.namespace, destination.service.name);
  const open = questions.filter((question) => !lookups.knows(question));
  return service === undefined && open.length === 0
    ? undefined
    : (done) => lookups.look({ service, questions: open }, done);
}

export function notKnown({ detail }: NotKnown): MeshError {
  return new MeshError("NO_CONFIG", detail, {
    source: "proxy",
    unprocessed: true,
  });
}

/** The same look-ups, for those that cannot wait for as long as a request: what is late for them is late `ms` milliseconds after they ask. */
export function hurried(lookups: Lookups, clock: Clock, ms: number): Lookups {
  return {
    holds: (destination) => lookups.holds(destination),
    knows: (question) => lookups.knows(question),
    look(want, done) {
      let over = false;
      const end: OnKnown = (failure) => {
        if (over) return;
        over = true;
        cancel();
        done(failure);
      };
      const cancel = clock.after(ms, () =>
        end({
          kind: "late",
          detail: `there was no result within ${ms / 1000} s`,
        }),
      );
      lookups.look(want, end);
    },
  };
}

/** The same look-ups, with the time that calls wait for them told. */
export function metered(
  lookups: Lookups,
  { configWait }: Pick<Meters, "configWait">,
  clock: Clock,
): Lookups {
  return {
    holds: (destination) => lookups.holds(destination),
    knows: (question) => lookups.knows(question),
    look(want, done) {
      const begun = clock.now();
      lookups.look(want, (failure) => {
        configWait
          .with(failure?.kind ?? "known")
          .record((clock.now() - begun) / 1000);
        done(failure);
      });
    },
  };
}
