/** Every command that README and guide show is one that Wherry knows, and what needs no mesh prints what is shown. */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { wordsOf } from "../../src/cli/examples.ts";
import { leavesOf, referenceProgram } from "../../src/tools/docs/cli.ts";
import { cleanEnvironment } from "../support/processes/demo.ts";
import {
  blocksOf,
  GUIDE,
  proseOf,
  readPage,
} from "../support/repository/pages.ts";
import {
  isShown,
  shownCommands,
  wherryWords,
} from "../support/repository/shown-commands.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const COMMANDS = GUIDE.flatMap(shownCommands);

/** What stands in backquotes on a page, outside blocks. */
const inlineCode = (page: string): string[] =>
  [...proseOf(readPage(page)).matchAll(/`([^`]+)`/g)].map(
    ([, code = ""]) => code,
  );

void t.test("commands in blocks parse", async (t) => {
  const program = await referenceProgram();
  const ran: string[] = [];
  for (const leaf of leavesOf(program))
    leaf.action(() => void ran.push(wordsOf(leaf)));
  for (const { at, text } of COMMANDS) {
    const words = wherryWords(text);
    if (words !== undefined)
      await t.resolves(
        program.parseAsync(words, { from: "user" }),
        `${at}: ${text}`,
      );
  }
  t.ok(ran.length > 10);
});

void t.test(
  "other commands are those of a shell, npm, curl, docker, kubectl, vault and SPIRE",
  (t) => {
    for (const { at, text } of COMMANDS)
      if (wherryWords(text) === undefined)
        t.match(
          text,
          /^(?:npm (?:start|run image)|docker (?:load|compose) |kubectl |vault write |spire-server entry create |curl (?:-\S+ |"[^"]*" |'[^']*'|-X POST )*'?http:\/\/127\.0\.0\.1:|for i in |OTEL_\w+=\S+ npm start|NODE_USE_ENV_PROXY=1 HTTP_PROXY=\S+ node )/,
          `${at}: ${text}`,
        );
    t.end();
  },
);

void t.test("commands and options in sentences are there", async (t) => {
  const leaves = leavesOf(await referenceProgram());
  const names = leaves.map(wordsOf);
  const options = new Set(
    leaves.flatMap((leaf) =>
      leaf.options.flatMap(({ long, short }) => [long, short]),
    ),
  );
  for (const page of GUIDE)
    for (const code of inlineCode(page)) {
      const [, command] =
        /^(?:npx )?wherry ([a-z-]+(?: [a-z]+)?)/.exec(code) ?? [];
      if (command !== undefined)
        t.ok(
          names.some(
            (name) => name === command || name === command.split(" ")[0],
          ),
          `${page}: ${code}`,
        );
      if (/^(?:npm|curl) /.test(code)) continue;
      for (const [, option] of code.matchAll(/(?:^| )(--[a-z-]+)/g))
        t.ok(options.has(option) || option === "--help", `${page}: ${code}`);
    }
});

void t.test("environment variables are read somewhere", (t) => {
  const source = globSync("src/**/*.{ts,js}", { cwd: ROOT })
    .map((file) => readFileSync(join(ROOT, file), "utf8"))
    .join("");
  const options = readPage("config/reference/cli.md");
  for (const page of GUIDE)
    for (const [name] of readPage(page).matchAll(/\bWHERRY_[A-Z_]+/g))
      t.ok(source.includes(name) || options.includes(name), `${page}: ${name}`);
  t.end();
});

void t.test("what needs no mesh prints what is shown", (t) => {
  const folder = t.testdir({});
  symlinkSync(join(ROOT, "config"), join(folder, "config"));
  for (const { text } of GUIDE.flatMap((page) => blocksOf(readPage(page)))) {
    const [, name] = /^resources: .* # (\w+\.yaml)\n/.exec(text) ?? [];
    if (name !== undefined) writeFileSync(join(folder, name), text);
  }
  const offline = COMMANDS.filter(
    ({ text, output }) =>
      /^npx wherry (?:explain .* -f|test|lint) /.test(text) &&
      output.length > 0,
  );
  t.equal(offline.length, 3);
  for (const command of offline) {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [join(ROOT, "src", "wherry.js"), ...(wherryWords(command.text) ?? [])],
      { cwd: folder, encoding: "utf8", env: cleanEnvironment() },
    );
    t.equal(stderr, "");
    if (!isShown(command, stdout))
      t.equal(stdout.trimEnd(), command.output.join("\n"), command.at);
  }
  t.end();
});
