/** What was taken out of service, on what evidence and until when: the ejections and breaks of one cluster (law 9). */

export interface EjectionHistoryEntry {
  readonly kind: "ejection" | "break";
  /** The endpoint that was ejected. */
  readonly endpoint: string | undefined;
  readonly reason: string;
  /** What was seen, in words. */
  readonly evidence: string;
  /** Monotonic milliseconds. */
  readonly at: number;
  /** Monotonic milliseconds; Infinity where only a health check ends it. */
  readonly until: number;
  /** Number of consecutive ejections, this one included. */
  readonly times: number;
}

export interface EjectionHistory {
  /** The newest last; bounded. */
  readonly entries: readonly EjectionHistoryEntry[];
  /** How many there ever were. */
  readonly count: number;
  add(entry: EjectionHistoryEntry): void;
}

const KEPT = 100;

export function makeEjectionHistory(): EjectionHistory {
  const entries: EjectionHistoryEntry[] = [];
  // No getter: each request looks at it, and V8 keeps an object literal that has one as a dictionary.
  const history = {
    entries,
    count: 0,
    add(entry: EjectionHistoryEntry): void {
      entries.push(entry);
      history.count += 1;
      if (entries.length > KEPT) entries.shift();
    },
  };
  return history;
}

/** The newest entry in a line, for the span of the attempt that led to it. */
export function newest({ entries }: EjectionHistory): string | undefined {
  const entry = entries.at(-1);
  if (entry === undefined) return undefined;
  const { kind, endpoint, reason, evidence, at, until } = entry;
  const ms = Math.round(until - at);
  return kind === "break"
    ? `breaker opened for ${ms} ms: ${evidence}`
    : `${endpoint ?? ""} ejected for ${ms} ms: ${reason}, ${evidence}`;
}
