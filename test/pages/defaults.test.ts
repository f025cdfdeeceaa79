/** Figures in the sentences of README and guide are the constants of the code. */
import t from "tap";
import { SETTLE } from "../../src/agent/files/watch-files.ts";
import {
  MOST_BODIES,
  MOST_BODIES_OF_TOKEN,
} from "../../src/control-plane/api/bodies.ts";
import { ENROLMENT_DEFAULTS } from "../../src/control-plane/api/schemas.ts";
import { PEER_LIMITS } from "../../src/control-plane/push/connection.ts";
import { MOST_OF_INSTANCE } from "../../src/control-plane/push/listener.ts";
import { LONGEST_UNCONFIRMED } from "../../src/control-plane/registry/expiry.ts";
import {
  GRACE,
  JUDGED_AFTER,
} from "../../src/control-plane/registry/preservation.ts";
import { KEYS_PER_LIMIT } from "../../src/core/shared/rate-table.ts";
import { FAILURE_LATENCY } from "../../src/policy/outcome.ts";
import { LONGEST_WAIT } from "../../src/proxy/application/concurrency-limiter.ts";
import { MESSAGES } from "../../src/proxy/downstream/limits.ts";
import { LEVELS } from "../../src/proxy/downstream/memory-pressure.ts";
import { TURNED_AWAY } from "../../src/proxy/downstream/sources.ts";
import { REPLAY_LIMIT } from "../../src/proxy/exchange/replay.ts";
import { MESH_DEFAULTS } from "../../src/resources/mesh/schema.ts";
import {
  ADAPTIVE_CONCURRENCY_DEFAULTS as ADAPTIVE,
  LAST_LEVEL,
} from "../../src/resources/traffic-policy/overload.ts";
import { TRAFFIC_DEFAULTS as TRAFFIC } from "../../src/resources/traffic-policy/settings.ts";
import { WORKLOAD_DEFAULTS } from "../../src/resources/workload/schema.ts";
import { readPage } from "../support/repository/pages.ts";

const seconds = (ms: number): string => `${ms / 1000} s`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;

const { connectionPool, outlierDetection, retryConstraint } = TRAFFIC;
const { timeouts, retry, tracing } = MESH_DEFAULTS.defaults;
const HOURS = MESH_DEFAULTS.mtls.certificateTTL / 3_600_000;
const BUDGET = `${retryConstraint.budget.percent} % of the requests over ${seconds(retryConstraint.budget.interval)}, plus ${retryConstraint.minRetryRate.count} a second`;

/** By page, what it must say. */
const SAID: Readonly<Record<string, readonly string[]>> = {
  "comparison.md": [
    `always: ${BUDGET}`,
    `${seconds(connectionPool.http.idleTimeout)}, or less if its \`Keep-Alive\` says so`,
    `on: ${outlierDetection.consecutive5xxErrors} consecutive failures, or under ${outlierDetection.successRate.thresholdPercent} % success`,
    `${seconds(outlierDetection.baseEjectionTime)}, doubling to ${seconds(outlierDetection.maxEjectionTime)}`,
    `a failure counts as ${seconds(FAILURE_LATENCY)}`,
    `connect ${seconds(timeouts.connect)}, stream idle ${timeouts.streamIdle / 60_000} min`,
    `${tracing.randomSamplingPercentage} % of new traces`,
  ],
  "install-and-run.md": [`after ${SETTLE} ms without a write`],
  "limits-and-overload.md": [
    `more than ${KEYS_PER_LIMIT.toLocaleString("en-US")} keys`,
    `wait for at most ${LONGEST_WAIT} ms`,
    `\`minConcurrency\` (${ADAPTIVE.minConcurrency}) and \`maxConcurrency\` (${ADAPTIVE.maxConcurrency})`,
    ...LEVELS.slice(1).map(
      ({ enter }, index) => `| ${index + 1}     | ${percent(enter)} `,
    ),
  ],
  "observability.md": [
    `sampled at ${tracing.randomSamplingPercentage} % (100 % in the demo)`,
  ],
  "operations.md": [
    `no endpoint expires for ${seconds(GRACE)}`,
    `after ${seconds(WORKLOAD_DEFAULTS.ttl)}, or \`--ttl\``,
    `After ${seconds(JUDGED_AFTER)} callers prefer`,
    `${LONGEST_UNCONFIRMED / 60_000} min after its lease ran out`,
    `for ${seconds(GRACE)} after the control plane started`,
    `at half of their ${HOURS} hours`,
    `at least ${HOURS * (1 - MESH_DEFAULTS.mtls.rotateAt)} hours`,
  ],
  "resilience.md": [
    `always applies: ${BUDGET}`,
    `The ${retryConstraint.minRetryRate.count} retries a second`,
    `counts a failure as ${seconds(FAILURE_LATENCY)}`,
  ],
  "routes.md": [`a body over ${REPLAY_LIMIT / 1024} KiB is not copied`],
  "security.md": [
    `has ${MOST_OF_INSTANCE} connections, ${PEER_LIMITS.streams} streams each and ${PEER_LIMITS.message / 1_048_576} MiB a message`,
    `At most ${MOST_BODIES} bodies`,
    `${MOST_BODIES_OF_TOKEN} of them of one token`,
    `closed for ${seconds(TURNED_AWAY.first)}, and for up to ${seconds(TURNED_AWAY.most)}`,
    `${256 / MESSAGES} MiB of 256`,
    `Certificates live ${HOURS} hours`,
  ],
};

for (const [page, said] of Object.entries(SAID))
  void t.test(page, (t) => {
    const text = readPage(`config/guide/${page}`);
    for (const sentence of said) t.ok(text.includes(sentence), sentence);
    t.end();
  });

void t.test("guide and reference say which level is refused last", (t) => {
  for (const page of [
    "guide/limits-and-overload",
    "reference/kinds/trafficpolicy",
  ]) {
    const text = readPage(`config/${page}.md`);
    t.ok(text.includes(`0 is refused last, ${LAST_LEVEL} first`), page);
  }
  t.end();
});

void t.test("shares and defaults that are words", (t) => {
  t.equal(retry.attempts, 1, "the default is one retry");
  t.equal(outlierDetection.maxEjectionPercent, 50, "at most half of them");
  t.equal(MESH_DEFAULTS.mtls.rotateAt, 0.5, "renewed at half");
  t.equal(MESSAGES, 16, "a sixteenth");
  t.strictSame(ENROLMENT_DEFAULTS, { ttl: "1h", uses: 1 }, "one use, one hour");
  for (const { enter, leave } of LEVELS.slice(1))
    t.equal(percent(enter - leave), "5 %", "five points below its start");
  t.end();
});
