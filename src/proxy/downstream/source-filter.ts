/**
 * Sources that are turned away and keep knocking: the kernel drops their packets for the rest of that time. A listener accepts one
 * connection a turn of the event loop, so a source that connects 10,000 times a second delays all others, and gets nothing (decision 028).
 */
import type { Server } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { dropSources } from "../../runtime/socket-filter.ts";
import ipaddr from "ipaddr.js";

/** Connections that a source may try in vain in one LOOK before the kernel drops it: one that tries now and then is closed, and knows. */
const KNOCKS = 20;
/** Milliseconds for which one in sixteen attempts comes through, once its time is up: hundreds that waited must not all come at once. */
const TRYING = 60_000;
/** Sources that are filtered at one time: each is compared with every SYN. */
const MOST_FILTERED = 64;
/** Sources whose knocks are counted at one time. */
const MOST_COUNTED = 4096;
/** Milliseconds between looks at whose time is up. */
const LOOK = 500;

export interface SourceFilter {
  /** Puts the filter before a listener, until it is closed. */
  guard(listener: Server): void;
  /** A source (`networkOf`) that is turned away until then, monotonic milliseconds, has connected. True where it is dropped from now on. */
  knocked(source: string, until: number): boolean;
  /** Sources of which the kernel drops all or most attempts. */
  readonly size: number;
  destroy(): void;
}

/** `until`: when it may try again, monotonic milliseconds. */
interface Filtered {
  readonly words: readonly number[];
  until: number;
  mayTry: boolean;
}

export function filterSources(
  clock: Clock,
  drop: typeof dropSources = dropSources,
): SourceFilter {
  const listeners = new Set<Server>();
  const knocks = new Map<string, number>();
  const filtered = new Map<string, Filtered>();
  let cancel: Cancel | undefined;

  const apply = (): void => {
    const sources = [...filtered.values()];
    for (const listener of listeners) drop(listener, sources);
  };
  const look = (): void => {
    const now = clock.now();
    let changed = false;
    for (const [name, source] of filtered) {
      if (now < source.until || (source.mayTry && now < source.until + TRYING))
        continue;
      changed = true;
      if (source.mayTry) filtered.delete(name);
      else source.mayTry = true;
    }
    if (changed) apply();
    knocks.clear();
    if (filtered.size > 0) return;
    cancel?.();
    cancel = undefined;
  };
  /** Whether it has knocked so often that it is dropped. */
  const knocksTooOften = (name: string): boolean => {
    const count = (knocks.get(name) ?? 0) + 1;
    if (knocks.size < MOST_COUNTED || count > 1) knocks.set(name, count);
    return count >= KNOCKS;
  };

  return {
    guard(listener) {
      listeners.add(listener);
      listener.once("close", () => listeners.delete(listener));
      if (filtered.size > 0) drop(listener, [...filtered.values()]);
    },
    knocked(name, until) {
      cancel ??= clock.every(LOOK, look);
      const known = filtered.get(name);
      if (known?.mayTry === false) return false;
      if (known === undefined) {
        if (filtered.size >= MOST_FILTERED || !knocksTooOften(name))
          return false;
        filtered.set(name, { words: wordsOf(name), until, mayTry: false });
      } else {
        known.until = until;
        known.mayTry = false;
      }
      apply();
      return true;
    },
    get size() {
      return filtered.size;
    },
    destroy() {
      cancel?.();
    },
  };
}

/** The 32-bit words of a source, the highest first. */
function wordsOf(source: string): readonly number[] {
  const address = ipaddr.parse(source.replace(/\/64$/, ""));
  const bytes = address.toByteArray();
  const length = address instanceof ipaddr.IPv6 ? 8 : 4;
  const words: number[] = [];
  for (let at = 0; at < length; at += 4)
    words.push(Buffer.from(bytes).readUInt32BE(at));
  return words;
}
