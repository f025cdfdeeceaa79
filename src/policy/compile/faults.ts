/** FaultInjections → the faults in this workload's calls to each port of a Service. */
import { durationOf } from "../../core/duration.ts";
import {
  isFaultCaller,
  type FaultInjectionResource,
} from "../../resources/fault-injection/spec.ts";
import { compileFault, type Fault } from "../fault.ts";
import type { RoutedRequest } from "../router/candidate.ts";
import type { SelfDescription } from "../snapshot.ts";
import { namespaceOf, type ServedPort } from "./clusters.ts";
import { matcher } from "./overload.ts";
import { nameOf } from "./sort.ts";

/** Oldest first; undefined where there is none, so that nothing of it is on the path. */
export type FaultsOf = (
  port: ServedPort,
) => readonly Fault<RoutedRequest>[] | undefined;

export function compileFaults(
  faults: readonly FaultInjectionResource[],
  self: SelfDescription,
): FaultsOf {
  const mine = faults
    .filter(({ spec }) => isFaultCaller(spec, self))
    .map((resource) => ({
      namespace: resource.metadata.namespace ?? "",
      targets: resource.spec.targetRefs,
      fault: compileFault<RoutedRequest>(resource.spec, {
        policy: nameOf(resource),
        milliseconds: durationOf,
        matcher,
      }),
    }));
  return ({ service, port }) => {
    const acting = mine.filter(
      ({ namespace, targets }) =>
        namespace === namespaceOf(service) &&
        targets.some(
          (ref) =>
            ref.name === service.metadata.name &&
            (ref.sectionName === undefined || ref.sectionName === port.name),
        ),
    );
    return acting.length === 0 ? undefined : acting.map(({ fault }) => fault);
  };
}
