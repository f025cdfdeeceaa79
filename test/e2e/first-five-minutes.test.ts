/** The first five minutes of the README, line by line in a shell: each command prints what the page shows. */
import { spawn } from "node:child_process";
import t from "tap";
import { eventually } from "../support/peers/call.ts";
import {
  cleanEnvironment,
  ROOT,
  startDemo,
  WHERRY,
} from "../support/processes/demo.ts";
import {
  isShown,
  shownCommands,
} from "../support/repository/shown-commands.ts";
import { findTool, needs } from "../support/processes/tools.ts";

const PATIENCE = 15_000;
const missing = findTool("curl") === undefined ? ["curl"] : [];
const [start, ...readme] = shownCommands("README.md");
const conditions = shownCommands("config/guide/operations.md").filter(
  ({ text }) => text.startsWith("npx wherry describe "),
);
/** The guide's look at the conditions belongs before the policy is deleted. */
const commands = readme.flatMap((command) =>
  command.text.startsWith("npx wherry delete ")
    ? [...conditions, command]
    : [command],
);

/** A line without what differs from run to run: ports, times, bars, the chosen instance, counters of the store. */
function masked(line: string): string {
  return line
    .trimEnd()
    .replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT")
    .replaceAll(/\b\d+(?:\.\d+)? ?(?:ms|s|m|h)(?:\d+m)?\b/g, "TIME")
    .replaceAll(/█+/g, "BAR")
    .replace(/("servedBy": "\w+)-\d/, "$1-N")
    .replace(/^(shop\/.*ready +)\d+/, "$1N")
    .replaceAll(/ {2,}/g, " ");
}

void t.test("the first five minutes", needs(missing), async (t) => {
  const demo = await startDemo();
  t.teardown(() => demo.stop());
  t.equal(start?.text, "npm start");
  if (start !== undefined)
    t.ok(isShown(start, `${demo.output}\n`, masked), demo.output);
  const wherry = `'${process.execPath}' '${WHERRY}'`;
  for (const command of commands) {
    const line = command.text
      .replaceAll("npx wherry", wherry)
      .replaceAll("http://127.0.0.1:8080", demo.file.web);
    await eventually(
      command.text,
      PATIENCE,
      () =>
        shell(line, { WHERRY_SERVER: demo.file.api, WHERRY_STATE: demo.state }),
      (printed) => isShown(command, printed, masked),
    );
    t.pass(command.text);
  }
  t.ok(commands.length > 7);
});

/** What a line prints on standard output. */
function shell(
  line: string,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", line], {
      cwd: ROOT,
      env: cleanEnvironment(environment),
      stdio: ["ignore", "pipe", "ignore"],
    });
    let printed = "";
    child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    child.on("error", reject);
    child.on("close", () => resolve(printed));
  });
}
