/** What a row of the table is, and what it comes to. */
import type { Bed } from "./bed.ts";
import {
  between,
  failedUntil,
  figuresOf,
  NOBODY,
  type CallFigures,
  type CallRecord,
} from "./calls.ts";
import type { Surroundings } from "./layout.ts";

export interface Row {
  /** "cut/callees/60s": what `--rows` chooses by, from its beginning. */
  readonly name: string;
  readonly goals: readonly Goal[];
  /** The mesh of the row, where it is not the usual one. */
  readonly open?: (around: Surroundings) => Promise<Bed>;
  /** One round of it, in a mesh that is well; leaves it well. */
  run(bed: Bed): Promise<Stretch>;
}

/** What was recorded in a round. */
export interface Stretch {
  readonly records: readonly CallRecord[];
  /** Monotonic milliseconds: the fault begins, and ends. */
  readonly faultAt: number;
  readonly healedAt: number;
  /** What the row counts besides, such as "CPU of the sidecar, %". */
  readonly more?: Readonly<Record<string, number>>;
}

export interface RowFigures extends CallFigures {
  readonly failedGet: number;
  readonly failedPost: number;
  /** GETs that failed without any part of an answer: what has begun cannot be had from another. */
  readonly failedGetUnanswered: number;
  /** Milliseconds. */
  readonly quietP99: number;
  /** Milliseconds from the beginning of the fault until no call that was due failed, in the worst round. */
  readonly failedFor: number;
  /** The same from its end. */
  readonly failedAfter: number;
  readonly more: Readonly<Record<string, number>>;
}

export interface Goal {
  readonly text: string;
  met(figures: RowFigures): boolean;
}

export interface RowResult {
  readonly name: string;
  readonly rounds: number;
  /** Absent where the row could not be measured. */
  readonly figures?: RowFigures;
  readonly goals: readonly { readonly text: string; readonly met: boolean }[];
  /** Why it has no figures. */
  readonly failure?: string;
}

export const NONE_FAILS: Goal = {
  text: "no call fails",
  met: ({ failed }) => failed === 0,
};

export const NO_GET_FAILS: Goal = {
  text: "no GET fails",
  met: ({ failedGet }) => failedGet === 0,
};

export const NO_UNANSWERED_GET_FAILS: Goal = {
  text: "no GET fails before its answer begins",
  met: ({ failedGetUnanswered }) => failedGetUnanswered === 0,
};

export function p99Within(times: number): Goal {
  return {
    text: `p99 ≤ ${times} × quiet`,
    met: ({ p99, quietP99 }) => p99 <= times * quietP99,
  };
}

/** All rounds together; times are of the worst. */
export function rowFigures(stretches: readonly Stretch[]): RowFigures {
  const records = stretches.flatMap((stretch) => stretch.records);
  const failedBy = (method: CallRecord["method"]): number =>
    figuresOf(records.filter((record) => record.method === method)).failed;
  const more: Record<string, number> = {};
  for (const stretch of stretches)
    for (const [name, value] of Object.entries(stretch.more ?? {}))
      more[name] = Math.max(more[name] ?? -Infinity, value);
  const quiet = stretches.flatMap((stretch) =>
    between(stretch.records, -Infinity, stretch.faultAt),
  );
  return {
    ...figuresOf(records),
    failedGet: failedBy("GET"),
    failedPost: failedBy("POST"),
    failedGetUnanswered: records.filter(
      ({ method, by, fault }) =>
        method === "GET" && by === NOBODY && fault !== "",
    ).length,
    quietP99: figuresOf(quiet).p99,
    failedFor: worst(stretches, ({ records, faultAt, healedAt }) =>
      failedUntil(between(records, -Infinity, healedAt), faultAt),
    ),
    failedAfter: worst(stretches, ({ records, healedAt }) =>
      failedUntil(records, healedAt),
    ),
    more,
  };
}

function worst(
  stretches: readonly Stretch[],
  of: (stretch: Stretch) => number,
): number {
  return Math.max(...stretches.map(of));
}

/** Throws what the row throws. */
export async function measureRow(
  row: Row,
  bed: Bed,
  { rounds, progress }: Surroundings,
): Promise<RowResult> {
  const stretches: Stretch[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${row.name}, round ${round} of ${rounds}`);
    stretches.push(await row.run(bed));
  }
  const figures = rowFigures(stretches);
  return {
    name: row.name,
    rounds,
    figures,
    goals: row.goals.map((goal) => ({
      text: goal.text,
      met: goal.met(figures),
    })),
  };
}
