/** The example meshes and the demo's files say nothing that this version does not do. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { formatFinding, lintTexts } from "../src/resources/lint.ts";
import { runCli } from "./support/control-plane/cli.ts";

const CONFIG = join(import.meta.dirname, "..", "config");

function yamlIn(folder: string): string[] {
  return readdirSync(join(CONFIG, folder))
    .filter((name) => name.endsWith(".yaml"))
    .sort();
}

const examples = yamlIn("examples");

void t.test("there are examples", (t) => {
  t.ok(examples.length >= 5);
  t.end();
});

for (const name of examples)
  void t.test(`config/examples/${name} is without a finding`, (t) => {
    const text = readFileSync(join(CONFIG, "examples", name), "utf8");
    const { resources, findings } = lintTexts([{ file: name, text }]);
    t.strictSame(findings.map(formatFinding), []);
    t.ok(resources.length > 0);
    t.end();
  });

void t.test("the examples' kinds cover all that there are", (t) => {
  const { resources } = lintTexts(
    examples.map((file) => ({
      file,
      text: readFileSync(join(CONFIG, "examples", file), "utf8"),
    })),
  );
  t.strictSame(
    [...new Set(resources.map(({ resource }) => resource.kind))].sort(),
    [
      "AuthorizationPolicy",
      "FaultInjection",
      "GRPCRoute",
      "HTTPRoute",
      "Mesh",
      "PeerAuthentication",
      "RequestAuthentication",
      "Revocation",
      "Service",
      "Telemetry",
      "TrafficPolicy",
      "Workload",
    ],
  );
  t.end();
});

void t.test("the tests among the examples pass", async (t) => {
  const folder = join(CONFIG, "examples", "tests");
  const files = yamlIn("examples/tests").map((name) => join(folder, name));
  t.ok(files.length > 0);
  const { code, out, err } = await runCli(["test", ...files]);
  t.equal(err, "");
  t.equal(code, 0, out);
});

void t.test("the demo's mesh, with each thing to try, has no error", (t) => {
  const read = (file: string): { file: string; text: string } => ({
    file,
    text: readFileSync(join(CONFIG, file), "utf8"),
  });
  const attempts = yamlIn("try").map((name) => join("try", name));
  for (const file of attempts) {
    const { findings } = lintTexts([read("demo.yaml"), read(file)]);
    const errors = findings.filter(({ severity }) => severity === "error");
    t.strictSame(errors.map(formatFinding), [], file);
  }
  t.ok(attempts.length > 0);
  t.end();
});
