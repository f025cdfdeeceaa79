// Active health checks: what is made of the results.
import t from "tap";
import {
  afterCheck,
  checkDelay,
  firstCheckDelay,
  WELL,
  type CheckResult,
  type HealthState,
} from "../../src/policy/health.ts";

const thresholds = { unhealthyThreshold: 3, healthyThreshold: 2 };
const RESULTS: Readonly<Record<string, CheckResult>> = {
  "+": { kind: "healthy" },
  "-": { kind: "unhealthy", evidence: "503" },
  "?": { kind: "unknown", evidence: "not let" },
};

/** Results in order, and whether the endpoint is well after each. */
const ROWS: readonly [results: string, well: string][] = [
  ["+++", "yyy"],
  ["--", "yy"],
  ["---", "yyn"],
  ["--+--", "yyyyy"],
  ["--+---", "yyyyyn"],
  ["---+", "yynn"],
  ["---++", "yynny"],
  ["---+-++", "yynnnny"],
  ["--?-", "yyyn"],
  ["???", "yyy"],
  ["---+?+", "yynnny"],
];

void t.test(
  "thresholds count results in a row; what says nothing does not count",
  (t) => {
    for (const [results, well] of ROWS) {
      let state: HealthState = WELL;
      const seen = Array.from(results, (each) => {
        const result = RESULTS[each];
        if (result === undefined) throw new Error(each);
        state = afterCheck(state, result, thresholds);
        return state.healthy ? "y" : "n";
      });
      t.equal(seen.join(""), well, results);
    }
    t.end();
  },
);

void t.test(
  "checks are spread: the first within the interval, later ones by a fifth",
  (t) => {
    t.equal(
      firstCheckDelay(1000, () => 0.3),
      300,
    );
    t.equal(
      checkDelay(1000, () => 0),
      800,
    );
    t.equal(
      checkDelay(1000, () => 0.5),
      1000,
    );
    t.end();
  },
);
