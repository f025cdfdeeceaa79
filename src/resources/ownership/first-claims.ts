/** The oldest claim of a Service on something, for each namespace of callers: claims that nobody sees both of do not compete. */
import type { ServiceResource } from "../service/schema.ts";

export interface Claim {
  /** Rank by age: the lowest is the oldest. */
  readonly age: number;
  readonly service: ServiceResource;
  /** Namespaces, or "*" alone. */
  readonly visibleTo: readonly string[];
}

/** The oldest claim on one thing, for each namespace of callers. Claims are added oldest first. */
export class FirstClaims {
  readonly #first = new Map<string, Claim>();

  add(claim: Claim): void {
    for (const namespace of claim.visibleTo)
      if (!this.#first.has(namespace)) this.#first.set(namespace, claim);
  }

  at(namespace: string): Claim | undefined {
    const named = this.#first.get(namespace);
    const all = this.#first.get("*");
    if (named === undefined || all === undefined) return named ?? all;
    return named.age < all.age ? named : all;
  }

  /** An older claim that is not `same`, and the namespace whose callers follow it. */
  before(claim: Claim, same: (other: Claim) => boolean): Before | undefined {
    return firstBefore([this], claim, same);
  }

  namespaces(): Iterable<string> {
    return this.#first.keys();
  }
}

interface Before {
  readonly winner: Claim;
  readonly namespace: string;
}

/** The same where each of several things takes the claimed one in. */
export function firstBefore(
  all: readonly FirstClaims[],
  claim: Claim,
  same: (other: Claim) => boolean,
): Before | undefined {
  const namespaces = claim.visibleTo.includes("*")
    ? new Set(["*", ...all.flatMap((first) => [...first.namespaces()])])
    : claim.visibleTo;
  for (const namespace of namespaces) {
    let winner: Claim | undefined;
    for (const first of all) {
      const found = first.at(namespace);
      if (found !== undefined && found.age < (winner?.age ?? claim.age))
        winner = found;
    }
    if (winner !== undefined && !same(winner)) return { winner, namespace };
  }
  return undefined;
}

/** The claims on one thing, made where there were none. */
export function claimsAt(
  map: Map<string, FirstClaims>,
  key: string,
): FirstClaims {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = new FirstClaims();
  map.set(key, made);
  return made;
}

/** Whether some namespace sees both: lists as `visibilityOf` gives them. */
export function overlap(
  left: readonly string[],
  right: readonly string[],
): boolean {
  return (
    left.includes("*") ||
    right.includes("*") ||
    left.some((namespace) => right.includes(namespace))
  );
}
