/** The calls beside sidecars that left the mesh within the last hour, or would have: which workload calls what. */
import type { Clock } from "../../core/clock.ts";
import {
  keyOfOutside,
  type OutsideCall,
  type OutsideVerdict,
} from "../../push/messages.ts";
import {
  added,
  cut,
  ReportedCalls,
  type ObservingWorkload,
  type Times,
} from "./reported-calls.ts";

interface SeenOutside
  extends Omit<OutsideCall, "count" | "firstAge" | "lastAge">, Times {}

export class OutsideCalls extends ReportedCalls<OutsideCall, SeenOutside> {
  constructor(clock: Pick<Clock, "wall" | "now">) {
    super(clock, { seenOf, isSound, keyOf: keyOfOutside });
  }
}

const VERDICTS: Readonly<Record<OutsideVerdict, true>> = {
  ...{ external: true, passed: true, refused: true },
};

function seenOf(
  { verdict, service, host, port, name }: OutsideCall,
  times: Times,
): SeenOutside {
  return {
    ...{ verdict: cut(verdict), service: cut(service), host: cut(host) },
    ...{ port, name: cut(name), ...times },
  };
}

function isSound({ verdict, service }: SeenOutside): boolean {
  return (
    Object.hasOwn(VERDICTS, verdict) &&
    (verdict === "external") === (service !== "")
  );
}

/** What one workload called. */
export interface OutsideCaller {
  readonly namespace: string;
  readonly workload: string;
  readonly serviceAccount: string;
  /** An OutsideVerdict. */
  readonly verdict: string;
  /** "NAMESPACE/NAME"; "" where no Service took the calls. */
  readonly service: string;
  /** "": many places, counted together. */
  readonly host: string;
  readonly port: number;
  /** What calls to an address said that they are for. */
  readonly name: string;
  readonly calls: number;
  /** Wall milliseconds. */
  readonly first: number;
  readonly last: number;
}

export interface OutsideCallers {
  /** Sorted by workload, then by how many calls. */
  readonly callers: readonly OutsideCaller[];
  /** Calls that found no room. */
  readonly dropped: number;
}

export function outsideCallers(
  outside: OutsideCalls,
  isMeant: (workload: ObservingWorkload) => boolean,
): OutsideCallers {
  let dropped = 0;
  const seen = [...outside.at(isMeant)].sort(byWorkload);
  const callers = seen.flatMap(({ workload, serviceAccount, calls, ...at }) => {
    dropped = added(dropped, at.dropped);
    const { namespace, name: ofWorkload } = workload;
    return [...calls]
      .sort((left, right) => right.count - left.count)
      .map(({ count, ...call }) => ({
        ...{ namespace, workload: ofWorkload, serviceAccount },
        ...call,
        calls: count,
      }));
  });
  return { callers, dropped };
}

function byWorkload(
  left: { readonly workload: ObservingWorkload },
  right: { readonly workload: ObservingWorkload },
): number {
  const [first, second] = [left, right].map(
    ({ workload }) => `${workload.namespace}/${workload.name}`,
  ) as [string, string];
  return first < second ? -1 : first > second ? 1 : 0;
}
