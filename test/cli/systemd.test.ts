/** The units of config/systemd: systemd takes them, finds them closed enough, and what they start is a command of ours. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { leavesOf, referenceProgram } from "../../src/tools/docs/cli.ts";
import { wordsOf } from "../../src/cli/examples.ts";
import { parse } from "yaml";
import { ROOT } from "../support/processes/demo.ts";
import { findTool, needs } from "../support/processes/tools.ts";

const FOLDER = join(ROOT, "config/systemd");
const PROCESSES = ["sidecar", "control-plane"] as const;
/** Of 100, as `systemd-analyze security` counts; below it, it says OK. */
const MOST_EXPOSED = 30;

const analyze = findTool("systemd-analyze");
const needsSystemd = needs(analyze === undefined ? ["systemd-analyze"] : []);

function unit(name: string): string {
  return readFileSync(join(FOLDER, `wherry-${name}.service`), "utf8");
}

for (const name of PROCESSES)
  void t.test(`systemd takes the unit of the ${name}`, needsSystemd, (t) => {
    // The program is not installed here, and systemd asks for it.
    const file = join(t.testdir(), `wherry-${name}.service`);
    writeFileSync(
      file,
      unit(name).replace(
        "ExecStart=/usr/local/bin/wherry",
        "ExecStart=/bin/true",
      ),
    );
    const run = (...args: string[]): { status: number | null; out: string } => {
      const { status, stdout, stderr } = spawnSync(analyze ?? "", args, {
        encoding: "utf8",
      });
      return { status, out: `${stdout}${stderr}` };
    };
    t.same(run("verify", file), { status: 0, out: "" });
    const { status, out } = run(
      ...["security", "--no-pager", "--offline=true"],
      ...[`--threshold=${MOST_EXPOSED}`, file],
    );
    t.equal(status, 0, out);
    t.end();
  });

void t.test(
  "what the units start parses, and so do their options",
  async (t) => {
    const program = await referenceProgram();
    const leaves = leavesOf(program);
    for (const name of PROCESSES) {
      const [, command = ""] = /^ExecStart=(.*)$/m.exec(unit(name)) ?? [];
      const [program_, words = "", ...options] = command.split(" ");
      t.equal(program_, "/usr/local/bin/wherry");
      const leaf = leaves.find((each) => wordsOf(each) === words);
      t.equal(words, name);
      const known = new Set(leaf?.options.map(({ long }) => long));
      for (const option of options.filter((each) => each.startsWith("--")))
        t.ok(known.has(option), `${name}: ${option}`);
      const example = parse(
        readFileSync(join(FOLDER, `${name}.yaml`), "utf8"),
      ) as Record<string, unknown>;
      for (const key of Object.keys(example))
        t.ok(known.has(`--${key}`), `${name}.yaml: ${key}`);
      t.match(unit(name), `--config /etc/wherry/${name}.yaml`);
    }
  },
);

void t.test(
  "the user has the number that wherry intercept lets pass",
  async (t) => {
    const line = /^u wherry (\d+) /m.exec(
      readFileSync(join(FOLDER, "wherry.sysusers"), "utf8"),
    );
    const intercept = leavesOf(await referenceProgram()).find(
      (each) => wordsOf(each) === "intercept",
    );
    const uid = intercept?.options.find(({ long }) => long === "--proxy-uid");
    t.equal(line?.[1], uid?.defaultValue);
  },
);
