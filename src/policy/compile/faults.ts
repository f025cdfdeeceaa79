/** FaultInjections → the faults in this workload's calls to each port of a Service. */
import { durationOf } from "../../core/duration.ts";
import {
  isFaultCaller,
  type FaultInjectionResource,
} from "../../resources/fault-injection/spec.ts";
import type { ServicePort } from "../../resources/service/schema.ts";
import { compileFault, type Fault } from "../fault.ts";
import type { RoutedRequest } from "../router/candidate.ts";
import type { Frame } from "./frame.ts";
import { nameOf, type HeldFault, type HeldService } from "./held/held.ts";
import { matcher } from "./overload.ts";

type Faults = readonly Fault<RoutedRequest>[] | undefined;

/** What the faults of a Service's ports are made of. */
export interface FaultsInput {
  readonly frame: Frame;
  readonly service: HeldService;
  /** Those that name the Service, the oldest first. */
  readonly faults: readonly HeldFault[];
}

export interface ServedFaults extends FaultsInput {
  /** In the order of the Service's ports; undefined where there is none, so that nothing of it is on the path. */
  readonly ports: readonly Faults[];
}

/** One for all the ports that it acts on, from one snapshot to the next. */
const compiled = new WeakMap<FaultInjectionResource, Fault<RoutedRequest>>();

export function compileFaults(
  input: FaultsInput,
  before: ServedFaults | undefined,
): ServedFaults {
  const { service, faults, frame } = input;
  if (
    before?.frame === frame &&
    before.service === service &&
    before.faults === faults
  )
    return before;
  const mine = faults.filter(({ resource }) =>
    isFaultCaller(resource.spec, frame.self),
  );
  return {
    ...input,
    ports: service.resource.spec.ports.map((port) =>
      actingOn(service, port, mine),
    ),
  };
}

function actingOn(
  service: HeldService,
  port: ServicePort,
  faults: readonly HeldFault[],
): Faults {
  const { name } = service.resource.metadata;
  const acting = faults.filter(({ resource }) =>
    resource.spec.targetRefs.some(
      (ref) =>
        ref.name === name &&
        (ref.sectionName === undefined || ref.sectionName === port.name),
    ),
  );
  return acting.length === 0
    ? undefined
    : acting.map(({ resource }) => faultOf(resource));
}

function faultOf(resource: FaultInjectionResource): Fault<RoutedRequest> {
  let fault = compiled.get(resource);
  if (fault === undefined) {
    fault = compileFault<RoutedRequest>(resource.spec, {
      policy: nameOf(resource),
      milliseconds: durationOf,
      matcher,
    });
    compiled.set(resource, fault);
  }
  return fault;
}
