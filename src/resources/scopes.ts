/** Which policies of a kind are for a workload, from the narrowest scope to the widest (Istio): those that select it, then its namespace's, in its own namespace before the root namespace. */
import { filterSteps, pieces, sortSteps, type Steps } from "../core/slices.ts";
import {
  createdAt,
  formatName,
  ROOT_NAMESPACE,
  selects,
  type Resource,
} from "./envelope.ts";
import type { Selector } from "./schema-parts.ts";

type Scoped = Resource<{ readonly selector?: Selector }>;

export interface ScopedWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** In each scope the oldest first: it counts and the others do not (trap 13). By steps: a mesh may have thousands of policies. */
export function* scopesOf<R extends Scoped>(
  policies: readonly R[],
  { namespace: own, labels }: ScopedWorkload,
): Steps<readonly (readonly R[])[]> {
  const scopes: R[][] = [];
  for (const selecting of [true, false])
    for (const namespace of new Set([own, ROOT_NAMESPACE])) {
      const scope = yield* filterSteps(
        policies,
        ({ metadata, spec: { selector } }) =>
          metadata.namespace === namespace &&
          (selector === undefined
            ? !selecting
            : selecting && selects(selector.matchLabels, labels)),
      );
      scopes.push(yield* oldestFirst(scope));
    }
  return scopes;
}

/** A policy that is not in force, and the older one of the same scope that is. Both as "NAMESPACE/NAME". */
export interface Overruled {
  readonly loser: string;
  readonly winner: string;
}

export function* overruledIn(
  scopes: readonly (readonly Scoped[])[],
): Steps<readonly Overruled[]> {
  const overruled: Overruled[] = [];
  for (const [winner, ...losers] of scopes)
    for (const piece of pieces(losers)) {
      yield;
      for (const loser of piece)
        if (winner !== undefined)
          overruled.push({
            loser: scopedName(loser),
            winner: scopedName(winner),
          });
    }
  return overruled;
}

export function scopedName({ metadata }: Resource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

/** By the store's clock (trap 18); without a time, last; then by name. */
function* oldestFirst<R extends Resource>(policies: readonly R[]): Steps<R[]> {
  const dated: Dated<R>[] = [];
  for (const piece of pieces(policies)) {
    yield;
    for (const policy of piece)
      dated.push({ policy, at: createdAt(policy), name: scopedName(policy) });
  }
  const sorted = yield* sortSteps(
    dated,
    (left, right) => left.at - right.at || (left.name < right.name ? -1 : 1),
  );
  return sorted.map(({ policy }) => policy);
}

interface Dated<R> {
  readonly policy: R;
  /** Wall milliseconds. */
  readonly at: number;
  readonly name: string;
}
