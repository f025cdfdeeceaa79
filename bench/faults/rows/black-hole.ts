/** One of two instances says nothing any more, in each of the ways in which that comes about, and comes back. */
import type { Bed } from "../bed.ts";
import { firstAnswerBy } from "../calls.ts";
import { cut, heal } from "../cuts.ts";
import type { Mix } from "../layout.ts";
import {
  NO_GET_FAILS,
  NO_UNANSWERED_GET_FAILS,
  p99Within,
  type Goal,
  type Row,
  type Stretch,
} from "../row.ts";
import { signalTree } from "../signals.ts";

const VICTIM = "callee-1";
/** Milliseconds; the long form comes to 12,000 calls. */
const QUIET = 5000;
const LENGTH = 40_000;
const LENGTH_SHORT = 8000;
/** Until it serves again, at most, and after that. */
const BACK_WITHIN = 60_000;
const AFTER = 15_000;
const AFTER_SHORT = 3000;

interface Hole {
  /** Calls that may fail: what is behind a link that was written to may have happened, and an application is given the benefit of the doubt. */
  readonly mostFailed: number;
  /** Milliseconds after which none may fail any more. */
  readonly over: number;
  /** What becomes of GETs. */
  readonly gets: Goal;
  begin(bed: Bed): Promise<void> | void;
  end(bed: Bed): Promise<void> | void;
}

const LINK = { mostFailed: 3, over: 3000, gets: NO_GET_FAILS } as const;
const APPLICATION = { ...LINK, mostFailed: 10 } as const;
/** A response that drips has begun: there is no other for that call. */
const DRIP = {
  ...APPLICATION,
  over: 6000,
  gets: NO_UNANSWERED_GET_FAILS,
} as const;

const HOLES: Readonly<Record<string, Hole>> = {
  /** Its packets are dropped on the way to and from the caller; its control plane reaches it. */
  drop: {
    ...LINK,
    begin: (bed) => cut(bed.host(VICTIM), [bed.host("caller")]),
    end: (bed) => heal(bed.host(VICTIM), [bed.host("caller")]),
  },
  /** The whole host is gone. */
  "drop-all": {
    ...LINK,
    begin: (bed) =>
      cut(bed.host(VICTIM), [bed.host("caller"), bed.host("plane")]),
    end: (bed) =>
      heal(bed.host(VICTIM), [bed.host("caller"), bed.host("plane")]),
  },
  "sidecar-stopped": {
    ...LINK,
    begin: (bed) => signalTree(bed.sidecar(VICTIM).pid, "SIGSTOP"),
    end: (bed) => signalTree(bed.sidecar(VICTIM).pid, "SIGCONT"),
  },
  "application-stopped": {
    ...APPLICATION,
    begin: (bed) => signalTree(bed.application(VICTIM).pid, "SIGSTOP"),
    end: (bed) => signalTree(bed.application(VICTIM).pid, "SIGCONT"),
  },
  /** Accepts, reads and never answers. */
  hang: {
    ...APPLICATION,
    begin: (bed) => bed.order(VICTIM, "hangs"),
    end: (bed) => bed.order(VICTIM, "answers"),
  },
  /** Answers a byte a second. */
  drip: {
    ...DRIP,
    begin: (bed) => bed.order(VICTIM, "drips"),
    end: (bed) => bed.order(VICTIM, "answers"),
  },
};

const MIXES: readonly Mix[] = ["get", "post", "mixed"];

const P99 = p99Within(3);

const CLEAN_RETURN: Goal = {
  text: "none fails on the way back",
  met: ({ failedAfter }) => failedAfter === 0,
};

const COMES_BACK: Goal = {
  text: "serves again within 30 s",
  met: ({ more }) => (more[BACK] ?? Number.NaN) <= 30_000,
};

/** Milliseconds between two looks at who answers. */
const LOOK = 500;
const BACK = "serves again after, ms";

export function blackHoleRows(short: boolean): Row[] {
  return Object.entries(HOLES).flatMap(([name, hole]) =>
    MIXES.map((mix) => ({
      name: `black-hole/${name}/${mix}`,
      goals: [
        ...(mix === "post" ? [] : [hole.gets]),
        atMost(hole.mostFailed),
        noneAfter(hole.over),
        P99,
        CLEAN_RETURN,
        COMES_BACK,
      ],
      run: (bed) => run(bed, hole, mix, short),
    })),
  );
}

function atMost(most: number): Goal {
  return {
    text: `at most ${most} calls fail`,
    met: ({ failed }) => failed <= most,
  };
}

function noneAfter(ms: number): Goal {
  return {
    text: `none fails after ${ms / 1000} s`,
    met: ({ failedFor }) => failedFor <= ms,
  };
}

async function run(
  bed: Bed,
  hole: Hole,
  mix: Mix,
  short: boolean,
): Promise<Stretch> {
  const { clock } = bed.around;
  const load = await bed.load(mix);
  await bed.pause(QUIET);
  const faultAt = clock.now();
  await hole.begin(bed);
  await bed.pause(short ? LENGTH_SHORT : LENGTH);
  await hole.end(bed);
  const healedAt = clock.now();
  const servesAgain = async (): Promise<number> =>
    firstAnswerBy(await load.records(), VICTIM, healedAt);
  while (
    Number.isNaN(await servesAgain()) &&
    clock.now() - healedAt < BACK_WITHIN
  )
    await bed.pause(LOOK);
  await bed.pause(short ? AFTER_SHORT : AFTER);
  const records = await load.stop();
  return {
    records,
    faultAt,
    healedAt,
    more: { [BACK]: firstAnswerBy(records, VICTIM, healedAt) },
  };
}
