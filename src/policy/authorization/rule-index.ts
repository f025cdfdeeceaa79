/**
 * Finds the first of many rules that a call meets, without asking those that it cannot meet.
 *
 * Each rule stands under the values of one property that it needs: the one that it shares with the fewest others. What a call has of that property
 * leads to the rules that may meet it, and these are asked; rules that need nothing of the kind are asked in turn.
 * Its size is that of the rules' values ([decision 070](../../decisions/070-rules-are-found-by-what-they-need.md)).
 */
import type { Steps } from "../../core/slices.ts";
import type { Call } from "./call.ts";
import { PatternIndex } from "./pattern-index.ts";
import type { Shape } from "./patterns.ts";
import type { Need, Test } from "./tests.ts";

/** What the index has to know of a rule. */
export interface Ordered {
  readonly test: Test;
  /** Its place among the rules. */
  readonly order: number;
}

/** Gives the first rule, in their order, that the call meets. */
export type FindRule<R> = (call: Call) => R | undefined;

/** A property by which rules are found. */
interface Dimension<R> {
  readonly need: Need;
  readonly byValue: PatternIndex<R>;
  readonly rules: R[];
}

/** A property that finds fewer rules than this costs more than to ask them. */
const FEW = 4;

/** By steps: the rules are in their order. */
export function* indexRules<R extends Ordered>(
  rules: readonly R[],
): Steps<FindRule<R>> {
  const shares = new Map<string, number>();
  for (const rule of rules) {
    yield;
    for (const need of rule.test.needs ?? [])
      for (const shape of need.shapes) {
        const key = shareKey(need, shape);
        shares.set(key, (shares.get(key) ?? 0) + 1);
      }
  }
  const chosen = new Map<string, { readonly need: Need; of: [R, Need][] }>();
  const asked: R[] = [];
  for (const rule of rules) {
    yield;
    const need = rarest(rule.test.needs ?? [], shares);
    if (need === undefined) asked.push(rule);
    else {
      const key = dimensionKey(need);
      const under = chosen.get(key);
      if (under === undefined) chosen.set(key, { need, of: [[rule, need]] });
      else under.of.push([rule, need]);
    }
  }
  const dimensions: Dimension<R>[] = [];
  for (const { need, of } of chosen.values()) {
    if (of.length < FEW) {
      for (const [rule] of of) asked.push(rule);
      continue;
    }
    const byValue = new PatternIndex<R>();
    for (const [rule, { shapes }] of of) {
      yield;
      for (const shape of shapes) byValue.add(shape, rule);
    }
    dimensions.push({ need, byValue, rules: of.map(([rule]) => rule) });
  }
  asked.sort((left, right) => left.order - right.order);
  return finder(dimensions, asked);
}

function finder<R extends Ordered>(
  dimensions: readonly Dimension<R>[],
  asked: readonly R[],
): FindRule<R> {
  if (dimensions.length === 0)
    return (call) => asked.find(({ test }) => test.meets(call));
  // Used by one call after the other, none of which waits.
  const found: (readonly R[])[] = [];
  return (call) => {
    found.length = 0;
    let repeats = false;
    for (const { need, byValue, rules } of dimensions) {
      if (need.ofHttpAlone && call.request === undefined) found.push(rules);
      else {
        const value = need.attribute.compared(call);
        if (typeof value === "string") byValue.collect(value, found);
        else if (value !== undefined) {
          repeats = true;
          for (const each of value) byValue.collect(each, found);
        }
      }
    }
    found.push(asked);
    let first: R | undefined;
    // Values of one list lead to the same rules: each is asked once, or a caller's long list would cost its square.
    for (const some of repeats ? new Set(found) : found)
      first = firstOf(some, call, first);
    return first;
  };
}

/** The first of some rules that the call meets, or the one that was found before, if it comes before it. */
function firstOf<R extends Ordered>(
  some: readonly R[],
  call: Call,
  before: R | undefined,
): R | undefined {
  for (const rule of some) {
    if (before !== undefined && rule.order >= before.order) return before;
    if (rule.test.meets(call)) return rule;
  }
  return before;
}

/** The need whose values are shared with the fewest rules; of equals the one with the fewest values. */
function rarest(
  needs: readonly Need[],
  shares: ReadonlyMap<string, number>,
): Need | undefined {
  let best: Need | undefined;
  let least = Infinity;
  for (const need of needs) {
    let share = need.shapes.length / 1024;
    let most = 0;
    for (const shape of need.shapes)
      most = Math.max(
        most,
        weight(shape) * (shares.get(shareKey(need, shape)) ?? 1),
      );
    share += most;
    if (share < least) {
      best = need;
      least = share;
    }
  }
  return best;
}

/** How many more calls have a value of such a shape: any call has the empty beginning. */
function weight({ kind, text }: Shape): number {
  if (kind === "exact") return 1;
  return text.length <= 1 ? 1024 : 4;
}

function dimensionKey({ attribute, ofHttpAlone }: Need): string {
  return `${attribute.name} ${String(ofHttpAlone)}`;
}

function shareKey(need: Need, { kind, text }: Shape): string {
  return `${dimensionKey(need)} ${kind} ${text}`;
}
