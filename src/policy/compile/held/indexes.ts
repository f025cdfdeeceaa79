/** What is found without looking at all: the Workloads of a Service, and the routes, policies and faults for it; kept in step with changes. */
import {
  PersistentGroups,
  type GroupsEdit,
} from "../../../core/persistent/groups.ts";
import { PersistentMap, type MapEdit } from "../../../core/persistent/map.ts";
import { sortSteps, type Steps } from "../../../core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import { formatName, selects } from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { GRPC_ROUTE } from "../../../resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../../resources/http-route/schema.ts";
import { labelKeys, rarest } from "../../../resources/labels.ts";
import {
  isRegistered,
  placesOf,
  takesFrom,
} from "../../../resources/ownership/address-owners.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../../resources/request-authentication/schema.ts";
import { REVOCATION } from "../../../resources/revocation/schema.ts";
import { SERVICE } from "../../../resources/service/schema.ts";
import { TELEMETRY } from "../../../resources/telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import {
  byAge,
  heldOf,
  isHeld,
  namespaceOf,
  type Held,
  type HeldAuthorizationPolicy,
  type HeldFault,
  type HeldPeerAuthentication,
  type HeldRequestAuthentication,
  type HeldRevocation,
  type HeldRoute,
  type HeldService,
  type HeldTelemetry,
  type HeldTrafficPolicy,
  type HeldWorkload,
} from "./held.ts";
import type { Change } from "./stock.ts";

/** The key of what is one list. */
export const ALL = "";

/** A Workload that does not get calls to a place that it claims. */
export interface LostPlace {
  readonly loser: HeldWorkload;
  readonly winner: HeldWorkload;
  /** "ADDRESS:PORT" */
  readonly place: string;
}

/** Lists have the oldest first; those by Service have its "NAMESPACE/NAME" as their key. */
export interface Indexes {
  readonly services: PersistentGroups<HeldService>;
  /** The Workloads that a Service selects. */
  readonly selected: PersistentGroups<HeldWorkload>;
  /** HTTPRoutes before GRPCRoutes. */
  readonly routes: PersistentGroups<HeldRoute>;
  readonly trafficPolicies: PersistentGroups<HeldTrafficPolicy>;
  readonly faults: PersistentGroups<HeldFault>;
  readonly peerAuthentications: PersistentGroups<HeldPeerAuthentication>;
  readonly requestAuthentications: PersistentGroups<HeldRequestAuthentication>;
  readonly authorizationPolicies: PersistentGroups<HeldAuthorizationPolicy>;
  readonly telemetries: PersistentGroups<HeldTelemetry>;
  readonly revocations: PersistentGroups<HeldRevocation>;
  /** By namespace and label, in no order. */
  readonly labelled: PersistentGroups<HeldWorkload>;
  /** Services by namespace and one label of their selectors, in no order; and by Service the one that was chosen. */
  readonly selectors: PersistentGroups<HeldService>;
  readonly chosen: PersistentMap<string>;
  /** The Workloads that claim a place, the one that has it first. */
  readonly places: PersistentGroups<HeldWorkload>;
  /** By Workload and place. */
  readonly lost: PersistentMap<LostPlace>;
}

export const NO_INDEXES: Indexes = {
  services: new PersistentGroups<HeldService>(byAge),
  selected: new PersistentGroups<HeldWorkload>(byAge),
  routes: new PersistentGroups(byKindAndAge),
  trafficPolicies: new PersistentGroups<HeldTrafficPolicy>(byAge),
  faults: new PersistentGroups<HeldFault>(byAge),
  peerAuthentications: new PersistentGroups<HeldPeerAuthentication>(byAge),
  requestAuthentications: new PersistentGroups<HeldRequestAuthentication>(
    byAge,
  ),
  authorizationPolicies: new PersistentGroups<HeldAuthorizationPolicy>(byAge),
  telemetries: new PersistentGroups<HeldTelemetry>(byAge),
  revocations: new PersistentGroups<HeldRevocation>(byAge),
  labelled: new PersistentGroups(),
  selectors: new PersistentGroups(),
  chosen: new PersistentMap(),
  places: new PersistentGroups(byClaim),
  lost: new PersistentMap(),
};

/** Changes of one step. */
const STEP = 32;

/** Indexes that are being brought into step with changes. */
export class IndexEdit {
  readonly services: GroupsEdit<HeldService>;
  readonly selected: GroupsEdit<HeldWorkload>;
  readonly routes: GroupsEdit<HeldRoute>;
  readonly trafficPolicies: GroupsEdit<HeldTrafficPolicy>;
  readonly faults: GroupsEdit<HeldFault>;
  readonly peerAuthentications: GroupsEdit<HeldPeerAuthentication>;
  readonly requestAuthentications: GroupsEdit<HeldRequestAuthentication>;
  readonly authorizationPolicies: GroupsEdit<HeldAuthorizationPolicy>;
  readonly telemetries: GroupsEdit<HeldTelemetry>;
  readonly revocations: GroupsEdit<HeldRevocation>;
  /** "NAMESPACE/NAME" of the Services, there or not, to which a change may matter. */
  readonly concerned: Set<string> = new Set();
  readonly #labelled: GroupsEdit<HeldWorkload>;
  readonly #selectors: GroupsEdit<HeldService>;
  readonly #chosen: MapEdit<string>;
  readonly #before: Indexes;
  readonly #places: GroupsEdit<HeldWorkload>;
  readonly #lost: MapEdit<LostPlace>;

  constructor(before: Indexes) {
    this.#before = before;
    this.services = before.services.edit();
    this.selected = before.selected.edit();
    this.routes = before.routes.edit();
    this.trafficPolicies = before.trafficPolicies.edit();
    this.faults = before.faults.edit();
    this.peerAuthentications = before.peerAuthentications.edit();
    this.requestAuthentications = before.requestAuthentications.edit();
    this.authorizationPolicies = before.authorizationPolicies.edit();
    this.telemetries = before.telemetries.edit();
    this.revocations = before.revocations.edit();
    this.#labelled = before.labelled.edit();
    this.#selectors = before.selectors.edit();
    this.#chosen = before.chosen.edit();
    this.#places = before.places.edit();
    this.#lost = before.lost.edit();
  }

  *apply(changes: readonly Change[]): Steps<void> {
    const services: Change[] = [];
    const workloads: Change[] = [];
    for (const [at, change] of changes.entries()) {
      if (at % STEP === 0) yield;
      const any = change.after ?? change.before;
      if (isHeld(SERVICE, any)) services.push(change);
      else if (isHeld(WORKLOAD, any)) workloads.push(change);
      else this.#others(change);
    }
    // Services that go are asked no more, and those that come are asked once all Workloads are there.
    const selecting: HeldService[] = [];
    for (const [at, change] of services.entries()) {
      if (at % STEP === 0) yield;
      const service = this.#service(change);
      if (service !== undefined) selecting.push(service);
    }
    const places = new Set<string>();
    for (const [at, change] of workloads.entries()) {
      if (at % STEP === 0) yield;
      this.#workload(change, places);
    }
    for (const service of selecting) {
      yield;
      yield* this.#select(service);
    }
    yield* this.#rank(places);
    yield* this.#settle();
  }

  *#settle(): Steps<void> {
    for (const groups of [
      this.services,
      this.selected,
      this.routes,
      this.trafficPolicies,
      this.faults,
      this.peerAuthentications,
      this.requestAuthentications,
      this.authorizationPolicies,
      this.telemetries,
      this.revocations,
      this.#labelled,
      this.#selectors,
      this.#places,
    ])
      yield* groups.settle();
  }

  done(): Indexes {
    return {
      services: this.services.done(),
      selected: this.selected.done(),
      routes: this.routes.done(),
      trafficPolicies: this.trafficPolicies.done(),
      faults: this.faults.done(),
      peerAuthentications: this.peerAuthentications.done(),
      requestAuthentications: this.requestAuthentications.done(),
      authorizationPolicies: this.authorizationPolicies.done(),
      telemetries: this.telemetries.done(),
      revocations: this.revocations.done(),
      labelled: this.#labelled.done(),
      selectors: this.#selectors.done(),
      chosen: this.#chosen.done(),
      places: this.#places.done(),
      lost: this.#lost.done(),
    };
  }

  /** The Services whose selector the labels meet, the oldest first. */
  servicesOf(
    namespace: string,
    labels: Readonly<Record<string, string>> = {},
  ): readonly HeldService[] {
    const found = labelKeys(namespace, labels).flatMap((key) =>
      this.#selectors
        .get(key)
        .filter(({ resource }) =>
          selects(resource.spec.selector ?? {}, labels),
        ),
    );
    return found.sort(byAge);
  }

  #others(change: Change): void {
    this.#swap(change, this.routes, isRoute, parentsOf);
    this.#swap(change, this.trafficPolicies, isTrafficPolicy, targetsOf);
    this.#swap(change, this.faults, isFault, targetsOf);
    this.#swap(change, this.peerAuthentications, isPeerAuthentication);
    this.#swap(change, this.requestAuthentications, isRequestAuthentication);
    this.#swap(change, this.authorizationPolicies, isAuthorizationPolicy);
    this.#swap(change, this.telemetries, isTelemetry);
    this.#swap(change, this.revocations, isRevocation);
  }

  /** `servicesOf`: the Services that the resource is for; absent where it is for none. */
  #swap<T extends Held>(
    { before, after }: Change,
    groups: GroupsEdit<T>,
    isOne: (held: Held | undefined) => held is T,
    servicesOf?: (held: T) => Iterable<string>,
  ): void {
    if (isOne(before))
      for (const key of servicesOf?.(before) ?? [ALL])
        groups.remove(key, before);
    if (isOne(after))
      for (const key of servicesOf?.(after) ?? [ALL]) groups.add(key, after);
    if (servicesOf === undefined) return;
    for (const held of [before, after])
      if (isOne(held))
        for (const name of servicesOf(held)) this.concerned.add(name);
  }

  /** The Service, where it has yet to be told which Workloads it selects. */
  #service({ before, after }: Change): HeldService | undefined {
    const same =
      isHeld(SERVICE, before) &&
      isHeld(SERVICE, after) &&
      JSON.stringify(before.resource.spec.selector) ===
        JSON.stringify(after.resource.spec.selector);
    if (isHeld(SERVICE, before)) {
      this.concerned.add(before.name);
      this.services.remove(ALL, before);
      const chosen = this.#chosen.get(before.name);
      if (chosen !== undefined) {
        this.#selectors.remove(chosen, before);
        if (same) this.#selectors.add(chosen, after);
        else this.#chosen.delete(before.name);
      }
      if (!same) this.selected.set(before.name, []);
    }
    if (!isHeld(SERVICE, after)) return undefined;
    this.concerned.add(after.name);
    this.services.add(ALL, after);
    return same ? undefined : after;
  }

  #workload({ before, after }: Change, places: Set<string>): void {
    if (isHeld(WORKLOAD, before)) {
      for (const key of labelsOf(before)) this.#labelled.remove(key, before);
      for (const service of this.#selecting(before))
        this.selected.remove(service.name, before);
      for (const place of placesOf(before.resource)) {
        this.#places.remove(place, before);
        places.add(place);
      }
    }
    if (isHeld(WORKLOAD, after)) {
      for (const key of labelsOf(after)) this.#labelled.add(key, after);
      for (const service of this.#selecting(after))
        this.selected.add(service.name, after);
      for (const place of placesOf(after.resource)) {
        this.#places.add(place, after);
        places.add(place);
      }
    }
  }

  #selecting({ resource }: HeldWorkload): readonly HeldService[] {
    const services = this.servicesOf(
      namespaceOf(resource),
      resource.metadata.labels,
    );
    for (const { name } of services) this.concerned.add(name);
    return services;
  }

  /** The Service looks at the Workloads that have its rarest label, and is found by the label that the fewest others are found by. */
  *#select(service: HeldService): Steps<void> {
    const { selector = {} } = service.resource.spec;
    const keys = labelKeys(namespaceOf(service.resource), selector);
    const fewest = rarest(keys, (key) => this.#labelled.count(key));
    const own = rarest(keys, (key) => this.#selectors.count(key));
    if (fewest === undefined || own === undefined) return;
    this.#selectors.add(own, service);
    this.#chosen.set(service.name, own);
    const selected: HeldWorkload[] = [];
    for (const [at, workload] of this.#labelled.get(fewest).entries()) {
      if (at % STEP === 0) yield;
      if (selects(selector, workload.resource.metadata.labels))
        selected.push(workload);
    }
    this.selected.set(service.name, yield* sortSteps(selected, byAge));
  }

  /** The owners of addresses, and the others that claim them. */
  *#rank(places: ReadonlySet<string>): Steps<void> {
    let count = 0;
    for (const place of places) {
      if ((count += 1) % STEP === 0) yield;
      const before = this.#before.places.get(place);
      if (before.length > 1)
        for (const { name } of before) this.#lost.delete(lossKey(name, place));
      const [winner, ...others] = this.#places.get(place);
      for (const loser of others)
        if (winner !== undefined && takesFrom(winner.resource, loser.resource))
          this.#lost.set(lossKey(loser.name, place), { loser, winner, place });
    }
  }
}

function isRoute(held: Held | undefined): held is HeldRoute {
  return isHeld(HTTP_ROUTE, held) || isHeld(GRPC_ROUTE, held);
}

const isTrafficPolicy = heldOf(TRAFFIC_POLICY);
const isFault = heldOf(FAULT_INJECTION);
const isRequestAuthentication = heldOf(REQUEST_AUTHENTICATION);
const isPeerAuthentication = heldOf(PEER_AUTHENTICATION);
const isTelemetry = heldOf(TELEMETRY);
const isAuthorizationPolicy = heldOf(AUTHORIZATION_POLICY);

export function isRevocation(held: Held | undefined): held is HeldRevocation {
  return isHeld(REVOCATION, held);
}

/** Names a Workload's claim to "ADDRESS:PORT". */
export function lossKey(workload: string, place: string): string {
  return `${workload} ${place}`;
}

function byKindAndAge(left: HeldRoute, right: HeldRoute): number {
  return (
    Number(isHeld(GRPC_ROUTE, left)) - Number(isHeld(GRPC_ROUTE, right)) ||
    byAge(left, right)
  );
}

/** In the order in which Workloads have a place that they all claim. */
export function byClaim(left: HeldWorkload, right: HeldWorkload): number {
  return (
    Number(isRegistered(right.resource)) -
      Number(isRegistered(left.resource)) || byAge(left, right)
  );
}

function parentsOf({ resource }: HeldRoute): ReadonlySet<string> {
  return new Set(
    resource.spec.parentRefs.map(({ namespace, name }) =>
      formatName(namespace ?? namespaceOf(resource), name),
    ),
  );
}

function targetsOf({
  resource,
}: HeldTrafficPolicy | HeldFault): ReadonlySet<string> {
  return new Set(
    resource.spec.targetRefs.map(({ name }) =>
      formatName(namespaceOf(resource), name),
    ),
  );
}

function labelsOf({ resource }: HeldWorkload): readonly string[] {
  return labelKeys(namespaceOf(resource), resource.metadata.labels ?? {});
}
