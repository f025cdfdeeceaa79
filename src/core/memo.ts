/** What was worked out of a short text, kept for the next time: for texts that come again and again, such as a caller's name. */

import { ownCopy } from "./text/own-copy.ts";

export interface MemoBounds {
  /** When so many are kept, all are forgotten: what is in use is soon back. */
  readonly entries: number;
  /** Longer texts are worked out each time. */
  readonly longest: number;
}

const BOUNDS: MemoBounds = { entries: 1024, longest: 256 };

/** `compute` with a bounded memory; it must depend on its argument alone, and its results must not be changed. */
export function memo<T>(
  compute: (text: string) => T,
  bounds: MemoBounds = BOUNDS,
): (text: string) => T {
  const known = new Map<string, { readonly result: T }>();
  return (text) => {
    const found = known.get(text);
    if (found !== undefined) return found.result;
    if (text.length > bounds.longest) return compute(text);
    // A text may be a view of something larger, a request's head with its credentials: what outlives it is a copy of its own.
    const own = ownCopy(text);
    const result = compute(own);
    if (known.size >= bounds.entries) known.clear();
    known.set(own, { result });
    return result;
  };
}
