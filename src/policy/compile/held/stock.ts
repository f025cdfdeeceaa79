/** What the resources of a push are compared with: what was held before. Says what came, changed and went, and what cannot be used. */
import { isDeepStrictEqual } from "node:util";
import { deepFreeze } from "../../../core/frozen.ts";
import { PersistentMap, type MapEdit } from "../../../core/persistent/map.ts";
import type { Steps } from "../../../core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import {
  createdAt,
  formatKey,
  keyOf,
  type Resource,
} from "../../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../../resources/fault-injection/schema.ts";
import { GRPC_ROUTE } from "../../../resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../../resources/http-route/schema.ts";
import { isKind } from "../../../resources/kind.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../../../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../../resources/request-authentication/schema.ts";
import { REVOCATION } from "../../../resources/revocation/schema.ts";
import { SERVICE } from "../../../resources/service/schema.ts";
import { TELEMETRY } from "../../../resources/telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { validate } from "../../../resources/validate.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import { nameOf, type Held } from "./held.ts";

/** What makes one set of resources of another. */
export interface Difference {
  /** New ones, and those that take the place of one of the same key. */
  readonly changed: readonly Resource[];
  /** "Service shop/orders" */
  readonly removed: readonly string[];
}

export interface Stock {
  /** As passed last, in that order, with what is held of each; empty where a difference was passed. */
  readonly given: readonly Resource[];
  readonly held: readonly Held[];
  readonly byKey: PersistentMap<Held>;
}

/** At least one of the two. */
export interface Change {
  readonly before: Held | undefined;
  readonly after: Held | undefined;
}

export interface Taken {
  readonly stock: Stock;
  readonly changes: readonly Change[];
}

export const NO_STOCK: Stock = {
  given: [],
  held: [],
  byKey: new PersistentMap(),
};

export interface StockOptions {
  /** Each resource by itself has been validated by this version of the program already. */
  readonly validated?: boolean;
  /** Nobody changes the resources any more: they are frozen and kept. Otherwise they are copied. */
  readonly owned?: boolean;
}

/** Those on which a policy of this version acts. */
const KINDS = [
  MESH,
  SERVICE,
  WORKLOAD,
  HTTP_ROUTE,
  GRPC_ROUTE,
  TRAFFIC_POLICY,
  FAULT_INJECTION,
  AUTHORIZATION_POLICY,
  PEER_AUTHENTICATION,
  REQUEST_AUTHENTICATION,
  TELEMETRY,
  REVOCATION,
] as const;

/** Comparisons of one step. */
const STEP = 256;

export class StockTaking {
  readonly #before: Stock;
  readonly #options: StockOptions;
  readonly #problems: string[];
  readonly #byKey: MapEdit<Held>;
  readonly #changes = new Map<string, Change>();

  /** Adds to `problems` what cannot be used. */
  constructor(before: Stock, options: StockOptions, problems: string[]) {
    this.#before = before;
    this.#options = options;
    this.#problems = problems;
    this.#byKey = before.byKey.edit();
  }

  /** `resources` are all that there are. Those that are the same objects as before, and in the same order, cost a comparison each. */
  *all(resources: Iterable<Resource>): Steps<Taken> {
    const { byKey } = this.#before;
    const cursor = new Cursor(this.#before);
    const given: Resource[] = [];
    const held: Held[] = [];
    for (const resource of resources) {
      if (given.length % STEP === 0) yield;
      let found = cursor.next(resource);
      if (found === undefined) {
        yield;
        const key = formatKey(keyOf(resource));
        const known = byKey.get(key);
        if (known !== undefined && isSame(known.resource, resource)) {
          found = known;
          if (!cursor.passTo(known)) this.#twice(key);
        } else {
          if (known !== undefined) cursor.leave(known);
          found = this.#take(key, resource, known);
        }
      }
      if (found === undefined) continue;
      given.push(resource);
      held.push(found);
    }
    const left = cursor.end();
    for (const [key, { before }] of this.#changes)
      if (before !== undefined && !left.delete(before)) this.#twice(key);
    for (const { key } of left) this.#drop(key);
    return this.#taken(given, held);
  }

  /** The others stay as they were. */
  *difference({ changed, removed }: Difference): Steps<Taken> {
    for (const key of removed) this.#drop(key);
    for (const resource of changed) {
      yield;
      const key = formatKey(keyOf(resource));
      this.#take(key, resource, this.#before.byKey.get(key));
    }
    return this.#taken([], []);
  }

  #taken(given: readonly Resource[], held: readonly Held[]): Taken {
    return {
      stock: { given, held, byKey: this.#byKey.done() },
      changes: [...this.#changes.values()],
    };
  }

  #twice(key: string): void {
    this.#problems.push(`${key}: stands there twice`);
  }

  #drop(key: string): void {
    const before = this.#before.byKey.get(key);
    if (before === undefined) return;
    this.#byKey.delete(key);
    this.#changes.set(key, { before, after: undefined });
  }

  #take(
    key: string,
    given: Resource,
    before: Held | undefined,
  ): Held | undefined {
    if (this.#changes.has(key)) this.#twice(key);
    const resource = this.#judged(key, given);
    if (resource === undefined) return undefined;
    const after: Held = {
      resource,
      key,
      name: nameOf(resource),
      age: createdAt(resource),
    };
    this.#byKey.set(key, after);
    this.#changes.set(key, { before, after });
    return after;
  }

  /** What is kept of a resource: the caller may go on editing what it did not give away. */
  #judged(key: string, given: Resource): Resource | undefined {
    const { validated = false, owned = false } = this.#options;
    const own = owned ? given : structuredClone(given);
    const validation = validated
      ? ({ ok: true, resource: own } as const)
      : validate(own);
    if (!validation.ok) {
      for (const { path, message } of validation.problems)
        this.#problems.push(
          `${key}: ${path === "" ? "" : `${path} `}${message}`,
        );
      return undefined;
    }
    const { resource } = validation;
    if (KINDS.some((kind) => isKind<unknown>(kind, resource)))
      return deepFreeze(resource);
    this.#problems.push(`${key}: no policy of this version acts on the kind`);
    return undefined;
  }
}

/** Goes along what was held, in the order in which it was passed. */
class Cursor {
  readonly #given: readonly Resource[];
  readonly #held: readonly Held[];
  /** Those that have not come: they are gone, have changed, or come later than before. */
  readonly #left: Set<Held>;
  #at = 0;

  constructor({ given, held, byKey }: Stock) {
    this.#given = given;
    this.#held = held;
    // Without an order all may come at any time.
    this.#left = new Set();
    if (given.length === 0)
      for (const [, each] of byKey.entries()) this.#left.add(each);
  }

  /** What is held of `resource`, where it is the one that came next before. */
  next(resource: Resource): Held | undefined {
    if (this.#given[this.#at] !== resource) return undefined;
    this.#at += 1;
    return this.#held[this.#at - 1];
  }

  /** Leaves those before `known`. False where it has come already. */
  passTo(known: Held): boolean {
    if (this.#left.delete(known)) return true;
    for (; this.#at < this.#held.length; this.#at += 1) {
      const each = this.#held[this.#at];
      if (each === undefined) continue;
      if (each === known) {
        this.#at += 1;
        return true;
      }
      this.#left.add(each);
    }
    return false;
  }

  /** Something else takes the place of `known`. */
  leave(known: Held): void {
    if (this.#held[this.#at] !== known) return;
    this.#at += 1;
    this.#left.add(known);
  }

  end(): Set<Held> {
    for (const each of this.#held.slice(this.#at)) this.#left.add(each);
    return this.#left;
  }
}

function isSame(held: Resource, given: Resource): boolean {
  return held === given || isDeepStrictEqual(held, given);
}
