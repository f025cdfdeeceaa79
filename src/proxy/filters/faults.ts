/** Trouble on purpose, done to a request: it waits, is turned away, is broken off or gets its response slowly; and the sidecar says so, loudly, while it may. */
import { type Cancel, type Clock, timestamp } from "../../core/clock.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Logger } from "../../core/log.ts";
import { isInForce, type Injection } from "../../policy/fault.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import type {
  RequestRecord,
  TelemetrySinks,
} from "../exchange/request-record.ts";
import type { Meters } from "../../telemetry/meters.ts";
import { asMeshError } from "../exchange/rescue.ts";
import { FilteredStream } from "../exchange/body-filter.ts";
import { SlowResponse } from "./slow-response.ts";

/** Requests that wait at once at most; what comes beyond them is spared the delay, for a test must not take the sidecar down. */
export const MOST_DELAYED = 1024;

export interface Faults {
  /** Does to the request what was drawn; `go` carries on with its stream, unless it ends here. */
  inject(
    stream: ServerStream,
    record: RequestRecord,
    injection: Injection,
    go: (stream: ServerStream) => void,
  ): void;
  /** Watches the faults of a snapshot, until they end. */
  apply(snapshot: Snapshot): void;
  close(): void;
}

export interface FaultsOptions {
  readonly clock: Clock;
  readonly sinks: TelemetrySinks;
  readonly logger: Logger;
  /** One of the workers of a process says which faults there are. */
  readonly tells: boolean;
}

export function makeFaults(options: FaultsOptions): Faults {
  const { clock, sinks, logger } = options;
  const { meters } = sinks;
  const watch = watchFaults(clock, meters, logger);
  let delayed = 0;

  const count = (record: RequestRecord, policy: string, kind: string): void =>
    meters.faults.with(record.destination, policy, kind).add();

  /** After the delay, if there was one. */
  const proceed = (
    stream: ServerStream,
    record: RequestRecord,
    injection: Injection,
    go: (stream: ServerStream) => void,
  ): void => {
    const { policy, abort, reset, bandwidth } = injection;
    if (abort !== undefined || reset) {
      count(record, policy, abort === undefined ? "reset" : "abort");
      record.refuse(refusal(injection), true);
      return;
    }
    if (bandwidth === 0) {
      go(stream);
      return;
    }
    count(record, policy, "bandwidth");
    go(new FilteredStream(stream, new SlowResponse(clock, bandwidth)));
  };

  return {
    inject(stream, record, injection, go) {
      record.fault = describe(injection);
      if (injection.delay === 0 || delayed >= MOST_DELAYED) {
        proceed(stream, record, injection, go);
        return;
      }
      delayed += 1;
      count(record, injection.policy, "delay");
      clock.after(injection.delay, () => {
        delayed -= 1;
        try {
          proceed(stream, record, injection, go);
        } catch (defect) {
          record.refuse(asMeshError(defect), true);
        }
      });
    },
    apply(snapshot) {
      if (options.tells) watch.apply(snapshot);
    },
    close: () => watch.close(),
  };
}

function refusal({ policy, abort }: Injection): MeshError {
  return new MeshError("FAULT_INJECTED", `${policy} makes the call fail`, {
    source: "proxy",
    policy,
    unprocessed: true,
    answer: abort ?? { reset: true },
  });
}

/** "shop/slow: delay 2000 ms, abort 503", for the log and the span. */
function describe({
  policy,
  delay,
  abort,
  reset,
  bandwidth,
}: Injection): string {
  const parts = [
    delay > 0 ? `delay ${delay} ms` : "",
    abort === undefined ? "" : `abort ${abort.status}`,
    reset && abort === undefined ? "reset" : "",
    bandwidth > 0 ? `bandwidth ${bandwidth} B/s` : "",
  ];
  return `${policy}: ${parts.filter((part) => part !== "").join(", ")}`;
}

/** Milliseconds: as often the log says that faults are injected. */
const REMINDER = 60_000;

interface Watched {
  readonly destination: string;
  readonly policy: string;
  readonly expiresAt: number;
}

/** The gauge is 1 while a fault acts, and the log says when one begins, once a minute that it goes on, and that it is over. */
function watchFaults(
  clock: Clock,
  meters: Meters,
  logger: Logger,
): { apply(snapshot: Snapshot): void; close(): void } {
  let active = new Map<string, Watched>();
  let known: readonly Watched[] = [];
  let cancel: Cancel | undefined;

  const look = (): void => {
    cancel?.();
    cancel = undefined;
    const wall = clock.wall();
    const now = new Map(
      known
        .filter(({ expiresAt }) => isInForce(expiresAt, wall))
        .map((each) => [`${each.policy} ${each.destination}`, each]),
    );
    for (const [key, { destination, policy }] of active)
      if (!now.has(key)) {
        meters.faultActive.remove(destination, policy);
        logger.warn({ destination, policy }, "fault injection is over");
      }
    for (const { destination, policy, expiresAt } of now.values()) {
      meters.faultActive.with(destination, policy).set(1);
      logger.warn(
        { destination, policy, until: timestamp(expiresAt) },
        "FAULTS ARE INJECTED on purpose",
      );
    }
    active = now;
    if (now.size === 0) return;
    const next = Math.min(
      ...[...now.values()].map(({ expiresAt }) => expiresAt - wall),
    );
    cancel = clock.after(Math.max(1, Math.min(REMINDER, next)), look);
  };

  return {
    apply(snapshot) {
      const before = known;
      known = snapshot.faulty.flatMap(({ cluster, faults }) =>
        (faults ?? []).map(({ policy, expiresAt }) => ({
          destination: cluster.destination,
          policy,
          expiresAt,
        })),
      );
      // Every push brings a snapshot, and most have the same faults: none.
      if (JSON.stringify(known) !== JSON.stringify(before)) look();
    },
    close() {
      cancel?.();
      cancel = undefined;
    },
  };
}
