/** The generated reference is what the code says, and its examples work. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import t, { type Test } from "tap";
import { examplesOf, wordsOf } from "../../../src/cli/examples.ts";
import { formatFinding, lintTexts } from "../../../src/resources/lint.ts";
import { formatDuration } from "../../../src/core/duration.ts";
import { meshSettings } from "../../../src/resources/mesh/schema.ts";
import { trafficSettings } from "../../../src/resources/traffic-policy/settings.ts";
import {
  fieldRows,
  type Schema,
} from "../../../src/tools/docs/kinds/fields.ts";
import { KINDS } from "../../../src/resources/registry.ts";
import { leavesOf, referenceProgram } from "../../../src/tools/docs/cli.ts";
import { EXAMPLES } from "../../../src/tools/docs/kinds.ts";
import { table } from "../../../src/tools/docs/markdown.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");

void t.test("npm run docs would change nothing", (t) => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, "src", "tools", "docs", "main.ts"), "--check"],
    { encoding: "utf8" },
  );
  t.equal(stderr, "");
  t.equal(status, 0);
  t.end();
});

void t.test("the examples of the kinds are without a finding", (t) => {
  const texts = readdirSync(EXAMPLES).map((file) => ({
    file,
    text: readFileSync(join(EXAMPLES, file), "utf8"),
  }));
  const { resources, findings } = lintTexts(texts);
  t.strictSame(findings.map(formatFinding), []);
  for (const { kind, singular } of KINDS)
    t.ok(
      resources.some(
        ({ file, resource }) =>
          file === `${singular}.yaml` && resource.kind === kind,
      ),
      kind,
    );
  t.end();
});

void t.test(
  "every command has examples, and each of them parses",
  async (t) => {
    const program = await referenceProgram();
    const ran: string[] = [];
    const leaves = leavesOf(program);
    for (const command of leaves)
      command.action(() => void ran.push(wordsOf(command)));
    for (const command of leaves) {
      const examples = examplesOf(command);
      t.ok(examples.length > 0, wordsOf(command));
      for (const example of examples) await parses(t, program, example);
    }
    t.strictSame(
      ran,
      leaves.flatMap((command) =>
        examplesOf(command).map(() => wordsOf(command)),
      ),
    );
  },
);

async function parses(
  t: Test,
  program: Command,
  example: string,
): Promise<void> {
  const [, ...words] = wordsOfShell(example);
  await t.resolves(program.parseAsync(words, { from: "user" }), example);
  for (const word of words.filter((each) => each.startsWith("config/")))
    t.ok(existsSync(join(ROOT, word)), word);
}

/** Words as a shell would split them, without redirections. */
function wordsOfShell(line: string): string[] {
  return [...line.replace(/ [<>] \S+$/, "").matchAll(/'([^']*)'|\S+/g)].map(
    ([word, quoted]) => quoted ?? word,
  );
}

void t.test("tables are as the formatter writes them", (t) => {
  t.equal(
    table(["a", "b", "c"], [["1", "", "x|y"]]),
    "| a   | c    |\n| --- | ---- |\n| 1   | x\\|y |\n",
  );
  t.end();
});

/** Said by their names. */
const ENVELOPE = ["apiVersion", "kind", "metadata", "spec", "status"];

void t.test("every field says what it means, in short sentences", (t) => {
  for (const { kind, meaning, schema } of KINDS) {
    const texts = fieldRows(schema as Schema, "")
      .filter(({ path }) => !ENVELOPE.includes(path))
      .map(({ path, meaning }) => [path, meaning] as const);
    for (const [path, text] of [["", meaning] as const, ...texts]) {
      t.not(text, "", `${kind} ${path}`);
      for (const each of text.split(/(?<=[.:;]) /))
        t.ok(each.split(" ").length <= 20, `${kind} ${path}: ${each}`);
    }
  }
  t.end();
});

void t.test("a default that is shown is the one in force", (t) => {
  const shown = new Map(
    KINDS.flatMap(({ kind, schema }) =>
      fieldRows(schema as Schema, "").map(
        ({ path, fallback }) => [`${kind} ${path}`, fallback] as const,
      ),
    ),
  );
  const traffic = trafficSettings(undefined);
  t.equal(
    shown.get("TrafficPolicy spec.circuitBreaker.resetTimeout"),
    `\`${formatDuration(traffic.circuitBreaker.resetTimeout)}\``,
  );
  t.equal(
    shown.get("Mesh spec.defaults.retry.attempts"),
    `\`${meshSettings(undefined).defaults.retry.attempts}\``,
  );
  t.equal(shown.get("Mesh spec.authorization"), "required");
  t.end();
});
