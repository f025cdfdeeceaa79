/** A resource as compiling keeps it: its own, never changed, with what is asked of it again and again. */
import type { AuthorizationPolicyResource } from "../../../resources/authorization-policy/spec.ts";
import {
  formatName,
  keyOf,
  type Resource,
} from "../../../resources/envelope.ts";
import type { FaultInjectionResource } from "../../../resources/fault-injection/spec.ts";
import type { GRPCRouteResource } from "../../../resources/grpc-route/spec.ts";
import type { HTTPRouteResource } from "../../../resources/http-route/spec.ts";
import { isKind, type KindDefinition } from "../../../resources/kind.ts";
import type { PeerAuthenticationResource } from "../../../resources/peer-authentication/schema.ts";
import type { RequestAuthenticationResource } from "../../../resources/request-authentication/spec.ts";
import type { RevocationResource } from "../../../resources/revocation/schema.ts";
import type { ServiceResource } from "../../../resources/service/schema.ts";
import type { TelemetryResource } from "../../../resources/telemetry/spec.ts";
import type { TrafficPolicyResource } from "../../../resources/traffic-policy/settings.ts";
import type { WorkloadResource } from "../../../resources/workload/schema.ts";

/** The same object from one compile to the next as long as the resource is the same. */
export interface Held<R extends Resource = Resource> {
  readonly resource: R;
  /** "Service shop/orders" */
  readonly key: string;
  /** "shop/orders" */
  readonly name: string;
  /** `createdAt` */
  readonly age: number;
}

export type HeldService = Held<ServiceResource>;
export type HeldWorkload = Held<WorkloadResource>;
export type HeldRoute = Held<HTTPRouteResource | GRPCRouteResource>;
export type HeldTrafficPolicy = Held<TrafficPolicyResource>;
export type HeldFault = Held<FaultInjectionResource>;
export type HeldPeerAuthentication = Held<PeerAuthenticationResource>;
export type HeldRequestAuthentication = Held<RequestAuthenticationResource>;
export type HeldTelemetry = Held<TelemetryResource>;
export type HeldRevocation = Held<RevocationResource>;
export type HeldAuthorizationPolicy = Held<AuthorizationPolicyResource>;

export function isHeld<S>(
  definition: KindDefinition<S>,
  held: Held | undefined,
): held is Held<Resource<S>> {
  return held !== undefined && isKind(definition, held.resource);
}

/** Tells those of a kind. */
export function heldOf<S>(
  definition: KindDefinition<S>,
): (held: Held | undefined) => held is Held<Resource<S>> {
  return (held) => isHeld(definition, held);
}

/** The oldest first: where two want the same thing it wins; of one age the name decides (traps 13 and 18). */
export function byAge(left: Held, right: Held): number {
  return (
    left.age - right.age ||
    (left.name === right.name ? 0 : left.name < right.name ? -1 : 1)
  );
}

/** "NAMESPACE/NAME" */
export function nameOf(resource: Resource): string {
  const { namespace, name } = keyOf(resource);
  return formatName(namespace, name);
}

export function namespaceOf({ metadata }: Resource): string {
  return metadata.namespace ?? "";
}
