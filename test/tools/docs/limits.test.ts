/** The page of limits has every limit of the code, and names options, reasons and metrics that there are. */
import { Command } from "commander";
import t from "tap";
import { withLimitOptions } from "../../../src/cli/limit-options.ts";
import { API_REASONS } from "../../../src/control-plane/api/errors.ts";
import { REASONS } from "../../../src/mesh/reasons.ts";
import { DEFAULT_LIMITS as SIDECAR } from "../../../src/proxy/downstream/limits.ts";
import {
  HTTP1_LIMITS,
  HTTP2_LIMITS,
} from "../../../src/tools/docs/limits/codecs.ts";
import {
  API_LIMITS,
  PUSH_LIMITS,
} from "../../../src/tools/docs/limits/control-plane.ts";
import {
  CONNECTION_LIMITS,
  MEMORY_LIMITS,
  TIME_LIMITS,
} from "../../../src/tools/docs/limits/sidecar.ts";
import { METRIC_NAMES } from "../../support/repository/metric-names.ts";
import { DEFAULT_LIMITS as HTTP1 } from "../../../src/wire/http1/limits.ts";
import { resolveLimits } from "../../../src/wire/http2/limits.ts";

const LIMITS = [
  ...CONNECTION_LIMITS,
  ...MEMORY_LIMITS,
  ...TIME_LIMITS,
  ...HTTP1_LIMITS,
  ...HTTP2_LIMITS,
  ...API_LIMITS,
  ...PUSH_LIMITS,
];

void t.test("every limit of the code has its row", (t) => {
  const told = new Set<string>(LIMITS.flatMap(({ fields = [] }) => fields));
  for (const [prefix, limits] of [
    ["", SIDECAR],
    ["http1.", HTTP1],
    ["http2.", resolveLimits()],
  ] as const)
    for (const field of Object.keys(limits))
      t.ok(told.has(`${prefix}${field}`), `${prefix}${field}`);
  t.end();
});

void t.test("the options of the command that set limits are there", (t) => {
  const named = LIMITS.flatMap(({ setBy = "" }) =>
    [...setBy.matchAll(/^`--([a-z-]+)`$/g)].map(([, name]) => name),
  );
  const real = withLimitOptions(new Command()).options.map((option) =>
    option.name(),
  );
  for (const name of real) t.ok(named.includes(name), name);
  t.end();
});

void t.test("reasons and metrics are known", (t) => {
  for (const { name, reasons = [], seen = [] } of LIMITS) {
    for (const code of reasons)
      t.ok(
        Object.hasOwn(REASONS, code) || Object.hasOwn(API_REASONS, code),
        `${name}: ${code}`,
      );
    for (const where of seen.filter((text) => text.startsWith("wherry_")))
      t.ok(METRIC_NAMES.has(where.replace(/\{.*$/, "")), `${name}: ${where}`);
  }
  t.end();
});

void t.test("no default is an accident of the arithmetic", (t) => {
  for (const limit of LIMITS)
    t.notMatch(limit.default, /NaN|Infinity|undefined|^$/, limit.name);
  t.end();
});
