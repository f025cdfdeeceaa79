/** Imports go one way, between folders and between files; types count (src/README.md). */
import { dirname } from "node:path";
import t from "tap";
import {
  circles,
  importGraph,
  importsOf,
  sourceFiles,
  type Import,
} from "./support/repository/imports.ts";

/** From the top down; what is in one row does not import each other. "*" is what no row names. */
type Layers = readonly (readonly string[])[];

const HOUSE: Layers = [
  ["main.ts", "wherry.js", "tools"],
  ["launch.js", "bundle.js"],
  ["install-turn.js"],
  ["cli"],
  ["sidecar", "control-plane", "demo"],
  ["proxy"],
  ["agent", "telemetry"],
  ["policy", "wire", "push"],
  ["identity", "resources"],
  ["mesh"],
  ["runtime"],
  ["core"],
];

/** The same within a folder, where its folders have an order. */
const WITHIN: Readonly<Record<string, Layers>> = {
  cli: [["run.ts"], ["commands"], ["*"]],
  sidecar: [
    ["sidecar.ts"],
    ["handover"],
    ["contract.ts", "follow-agent.ts", "naming"],
    ["admin"],
    ["workers"],
    ["*"],
  ],
  proxy: [
    ["downstream"],
    ["outbound.ts", "inbound.ts"],
    ["plan-route.ts", "departure.ts"],
    ["dns"],
    ["destination.ts", "not-held.ts"],
    ["filters", "checks", "observation"],
    ["application"],
    ["upstream"],
    ["exchange"],
  ],
  "proxy/upstream": [["*"], ["cluster"], ["pool"]],
  policy: [["explain"], ["compile"], ["snapshot.ts"], ["balance"], ["*"]],
  wire: [["http1", "http2", "tls"], ["*"]],
};

/** Single policies, each a file or a folder: they know nothing of each other. */
const SINGLE =
  /^policy\/(?!snapshot\.ts)(?:routing\/)?[^/]+\.ts$|^policy\/(?:router|authorization)\//;

/** Two files of one policy. */
function isOne(from: string, to: string): boolean {
  return (
    dirname(from) === dirname(to) &&
    /^policy\/(?:router|authorization)$/.test(dirname(from))
  );
}

function rowOf(layers: Layers, part: string): number {
  const named = layers.findIndex((row) => row.includes(part));
  return named >= 0 ? named : layers.findIndex((row) => row.includes("*"));
}

/** Why an import breaks the rule; undefined where it does not. */
function fault({ from, to }: Import): string | undefined {
  if (to.startsWith("..")) return "leaves src";
  if (SINGLE.test(from) && SINGLE.test(to) && !isOne(from, to))
    return "is another policy: only snapshot.ts, compile/, balance/ and explain/ put policies together";
  const [mine, other] = [from.split("/"), to.split("/")];
  // The first folder in which they part.
  let depth = 0;
  while (mine[depth] === other[depth] && depth < mine.length) depth += 1;
  const folder = mine.slice(0, depth).join("/");
  const layers = folder === "" ? HOUSE : WITHIN[folder];
  if (layers === undefined) return undefined;
  const row = rowOf(layers, mine[depth] ?? "");
  const below = rowOf(layers, other[depth] ?? "");
  if (row < 0 || below < 0) return "is in a folder that the rule does not know";
  if (below < row) return "is above it";
  return below === row && layers[row]?.includes("*") !== true
    ? "is beside it, and those do not import each other"
    : undefined;
}

void t.test("imports go one way", (t) => {
  for (const each of sourceFiles().flatMap(importsOf)) {
    const broken = fault(each);
    if (broken !== undefined)
      t.fail(`${each.from} imports ${each.to}, which ${broken}`);
  }
  t.pass("every import was looked at");
  t.end();
});

void t.test("the rule knows what it forbids", (t) => {
  const faults: readonly [string, string, RegExp | undefined][] = [
    ["core/clock.ts", "resources/mesh/schema.ts", /above/],
    ["core/clock.ts", "runtime/v8.ts", /above/],
    ["policy/path.ts", "wire/fields.ts", /beside/],
    ["sidecar/sidecar.ts", "control-plane/registry.ts", /beside/],
    ["proxy/exchange/relay.ts", "proxy/downstream/limits.ts", /above/],
    ["proxy/upstream/pool/pool.ts", "proxy/upstream/direct-plan.ts", /above/],
    ["wire/http2/heads.ts", "wire/http1/limits.ts", /beside/],
    ["policy/router/router.ts", "policy/retry.ts", /another policy/],
    ["policy/router/router.ts", "policy/routing/cors.ts", /another policy/],
    ["policy/router/router.ts", "policy/router/candidate.ts", undefined],
    ["policy/router/router.ts", "policy/authorization/patterns.ts", /another/],
    ["core/clock.ts", "../test/support/clocks/fake-clock.ts", /leaves/],
    ["new/x.ts", "core/clock.ts", /does not know/],
    ["policy/snapshot.ts", "policy/router/router.ts", undefined],
    ["proxy/outbound.ts", "policy/router/router.ts", undefined],
    ["wire/tls/tls.ts", "wire/exchange.ts", undefined],
  ];
  for (const [from, to, expected] of faults) {
    const found = fault({ from, to });
    if (expected === undefined) t.equal(found, undefined, `${from} → ${to}`);
    else t.match(found, expected, `${from} → ${to}`);
  }
  t.end();
});

void t.test("files form no circle", (t) => {
  const found = circles(importGraph());
  for (const circle of found) t.fail(`${circle.join(" → ")} → …`);
  t.pass("every file was looked at");
  t.end();
});

void t.test("a circle is found", (t) => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c", "d"]],
    ["c", ["a"]],
    ["d", ["d"]],
    ["e", ["a"]],
  ]);
  t.strictSame(
    circles(graph).map((circle) => circle.sort()),
    [["d"], ["a", "b", "c"]],
  );
  t.strictSame(circles(new Map([["a", ["b"]]])), []);
  t.end();
});
