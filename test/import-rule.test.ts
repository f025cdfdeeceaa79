// The direction of imports (src/README.md): main → cli → {sidecar, control-plane, demo} → proxy → {agent, telemetry} → {policy, wire, push} → {identity, resources} → mesh → runtime → core.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** From the top down; folders in one row do not import each other. */
const LAYERS: readonly (readonly string[])[] = [
  ["main.ts", "tools"],
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

/** Files of policy/ that put the single policies together. */
const COMPOSITION = ["snapshot.ts", "compile", "balance", "explain"];

interface Import {
  readonly from: string;
  readonly to: string;
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") || name.endsWith(".tsx"))
    .map((name) => join(folder, name));
}

/** Relative imports, dynamic ones and those of types too. */
function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8");
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
  return [...found].map(([, target = ""]) => ({
    from: relative(SRC, file),
    to: relative(SRC, resolve(dirname(file), target)),
  }));
}

function layerOf(file: string): number {
  const top = file.split("/")[0] ?? "";
  return LAYERS.findIndex((layer) => layer.includes(top));
}

function topOf(file: string): string {
  return file.split("/")[0] ?? "";
}

/** Why an import breaks the rule; undefined where it does not. */
function fault({ from, to }: Import): string | undefined {
  if (to.startsWith("..")) return "leaves src";
  if (layerOf(from) < 0 || layerOf(to) < 0)
    return "is in a folder that the rule does not know";
  if (topOf(from) === topOf(to)) return policyFault(from);
  if (layerOf(to) === layerOf(from))
    return "is beside it, and those do not import each other";
  return layerOf(to) < layerOf(from) ? "is above it" : undefined;
}

/** Single policies know nothing of each other. */
function policyFault(from: string): string | undefined {
  if (topOf(from) !== "policy") return undefined;
  const composes = (file: string): boolean =>
    COMPOSITION.includes(file.split("/")[1] ?? "");
  return composes(from)
    ? undefined
    : "is another policy: only snapshot.ts, compile/, balance/ and explain/ put policies together";
}

void t.test("imports go one way", (t) => {
  for (const file of sourceFiles(SRC)) {
    for (const each of importsOf(file)) {
      const broken = fault(each);
      if (broken !== undefined)
        t.fail(`${each.from} imports ${each.to}, which ${broken}`);
    }
  }
  t.pass("every import was looked at");
  t.end();
});

void t.test("the rule knows what it forbids", (t) => {
  t.match(
    fault({ from: "core/clock.ts", to: "resources/mesh/schema.ts" }),
    /above/,
  );
  t.match(fault({ from: "core/clock.ts", to: "mesh/reasons.ts" }), /above/);
  t.match(
    fault({ from: "policy/routing/router.ts", to: "wire/fields.ts" }),
    /beside/,
  );
  t.match(
    fault({ from: "sidecar/sidecar.ts", to: "control-plane/registry.ts" }),
    /beside/,
  );
  t.match(
    fault({ from: "policy/routing/router.ts", to: "policy/retry.ts" }),
    /another policy/,
  );
  t.match(
    fault({ from: "core/clock.ts", to: "../test/support/fake-clock.ts" }),
    /leaves/,
  );
  t.match(fault({ from: "new/x.ts", to: "core/clock.ts" }), /does not know/);
  t.equal(
    fault({ from: "policy/snapshot.ts", to: "policy/routing/router.ts" }),
    undefined,
  );
  t.equal(
    fault({ from: "proxy/outbound.ts", to: "policy/routing/router.ts" }),
    undefined,
  );
  t.end();
});
