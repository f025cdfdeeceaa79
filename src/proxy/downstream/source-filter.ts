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
/** Milliseconds after which a process that handed its listeners over has let go of them, in whatever way. */
const LET_GO = 15_000;
/** Milliseconds between looks at whose time is up. */
const LOOK = 500;

export interface SourceFilter {
  /**
   * Puts the filter before a listener, until it is closed; gives the way to take it away before. The kernel keeps it for as long as any
   * process has the socket. `inherited`: another process has, and may have put one there that nobody else takes away.
   */
  guard(listener: Server, inherited?: boolean): () => void;
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
  return new KernelFilter(clock, drop);
}

class KernelFilter implements SourceFilter {
  readonly #clock: Clock;
  readonly #drop: typeof dropSources;
  readonly #listeners = new Set<Server>();
  readonly #knocks = new Map<string, number>();
  readonly #filtered = new Map<string, Filtered>();
  /** Second looks at what was inherited. */
  readonly #again = new Set<Cancel>();
  #cancel: Cancel | undefined;

  constructor(clock: Clock, drop: typeof dropSources) {
    this.#clock = clock;
    this.#drop = drop;
  }

  guard(listener: Server, inherited = false): () => void {
    this.#listeners.add(listener);
    const put = (): void => {
      if (this.#listeners.has(listener))
        this.#drop(listener, [...this.#filtered.values()]);
    };
    if (inherited || this.size > 0) put();
    const again = inherited ? this.#clock.after(LET_GO, put) : undefined;
    if (again !== undefined) this.#again.add(again);
    listener.once("close", () => {
      this.#listeners.delete(listener);
      again?.();
    });
    return () => {
      if (this.#listeners.delete(listener) && this.size > 0)
        this.#drop(listener, []);
    };
  }

  knocked(name: string, until: number): boolean {
    this.#cancel ??= this.#clock.every(LOOK, () => this.#look());
    const known = this.#filtered.get(name);
    if (known?.mayTry === false) return false;
    if (known === undefined) {
      if (this.size >= MOST_FILTERED || !this.#knocksTooOften(name))
        return false;
      this.#filtered.set(name, { words: wordsOf(name), until, mayTry: false });
    } else {
      known.until = until;
      known.mayTry = false;
    }
    this.#apply();
    return true;
  }

  get size(): number {
    return this.#filtered.size;
  }

  destroy(): void {
    for (const cancel of this.#again) cancel();
    this.#cancel?.();
  }

  #apply(): void {
    const sources = [...this.#filtered.values()];
    for (const listener of this.#listeners) this.#drop(listener, sources);
  }

  #look(): void {
    const now = this.#clock.now();
    let changed = false;
    for (const [name, source] of this.#filtered) {
      if (now < source.until || (source.mayTry && now < source.until + TRYING))
        continue;
      changed = true;
      if (source.mayTry) this.#filtered.delete(name);
      else source.mayTry = true;
    }
    if (changed) this.#apply();
    this.#knocks.clear();
    if (this.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Whether it has knocked so often that it is dropped. */
  #knocksTooOften(name: string): boolean {
    const count = (this.#knocks.get(name) ?? 0) + 1;
    if (this.#knocks.size < MOST_COUNTED || count > 1)
      this.#knocks.set(name, count);
    return count >= KNOCKS;
  }
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
