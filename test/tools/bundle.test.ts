/** A checkout runs from the bundle of its source as it is now, and never from that of another. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { newEnvironment, ROOT } from "../support/processes/demo.ts";

/** Plain JavaScript, of which no types are known. */
const MODULE = join(ROOT, "src/bundle.js");
const { findBundle, makeBundle } = (await import(MODULE)) as {
  readonly findBundle: (root: string) => string | undefined;
  readonly makeBundle: (
    root: string,
    node: string,
    say: (text: string) => void,
  ) => string;
};

/** In place of the build: its bundle is the source as it was, unless that says that it is wrong. */
const BUILD = `
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
const [, , out] = process.argv;
const source = readFileSync("src/main.ts", "utf8");
appendFileSync("builds", "one\\n");
mkdirSync(out);
if (source === "wrong") {
  process.stderr.write("the stack\\nmain.ts is wrong\\n");
  process.exit(1);
}
writeFileSync(out + "/wherry.js", source);
`;
const FILES: Readonly<Record<string, string>> = {
  "src/main.ts": "1",
  "src/core/clock.ts": "1",
  "src/tools/build.js": BUILD,
  "config/examples/routes.yaml": "1",
  "README.md": "1",
  "CHANGELOG.md": "1",
  "package.json": '{"type":"module"}',
  "package-lock.json": "1",
};

interface Checkout {
  readonly root: string;
  readonly said: readonly string[];
  readonly write: (file: string, text: string) => void;
  readonly make: () => string;
  readonly builds: () => number;
  /** Names of what is in the folder of all bundles. */
  readonly kept: () => readonly string[];
}

function checkout(t: Test): Checkout {
  const root = t.testdir();
  const said: string[] = [];
  const write = (file: string, text: string): void => {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  };
  for (const [file, text] of Object.entries(FILES)) write(file, text);
  return {
    root,
    said,
    write,
    make: () =>
      makeBundle(root, process.execPath, (text) => void said.push(text)),
    builds: () =>
      readFileSync(join(root, "builds"), "utf8").split("\n").length - 1,
    kept: () => readdirSync(join(root, "node_modules/.cache/wherry/bundles")),
  };
}

void t.test("it is made once for each state of the source", (t) => {
  const { root, said, write, make, builds } = checkout(t);
  t.equal(findBundle(root), undefined);
  const first = make();
  t.equal(findBundle(root), first);
  t.equal(readFileSync(first, "utf8"), "1");
  t.equal(make(), first);
  t.equal(builds(), 1);
  t.strictSame(said, ["bundling the source (once; some seconds) …"]);

  for (const file of Object.keys(FILES)) {
    write(file, `${FILES[file] ?? ""} `);
    t.equal(findBundle(root), undefined, `${file} is another`);
    write(file, FILES[file] ?? "");
    t.equal(findBundle(root), first, `${file} is as it was`);
  }
  write("src/more.ts", "");
  t.equal(findBundle(root), undefined, "a file is new");
  rmSync(join(root, "src/more.ts"));
  rmSync(join(root, "src/core/clock.ts"));
  t.equal(findBundle(root), undefined, "a file is gone");
  t.end();
});

void t.test("what cannot be built is told, and leaves nothing", (t) => {
  const { root, write, make, kept } = checkout(t);
  write("src/main.ts", "wrong");
  t.throws(make, { message: "the stack\nmain.ts is wrong" });
  t.equal(findBundle(root), undefined);
  t.strictSame(kept(), []);
  t.end();
});

void t.test("of several at once all run from the same", async (t) => {
  const { root, kept } = checkout(t);
  const program = `
    import { makeBundle } from ${JSON.stringify(MODULE)};
    console.log(makeBundle(${JSON.stringify(root)}, process.execPath, () => undefined));`;
  const made = await Promise.all(
    Array.from({ length: 3 }, () => printedBy(program)),
  );
  t.equal(new Set(made).size, 1, made.join());
  t.ok(existsSync(made[0] ?? ""));
  t.equal(kept().length, 1);
});

void t.test("only the newest five stay", (t) => {
  const { write, make, kept } = checkout(t);
  let last = "";
  for (let state = 0; state < 8; state += 1) {
    write("src/main.ts", String(state));
    last = make();
  }
  t.equal(kept().length, 5);
  t.ok(existsSync(last));
  t.end();
});

async function printedBy(program: string): Promise<string> {
  const child = spawn(
    process.execPath,
    ["--input-type=module", "--eval", program],
    { env: newEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  for await (const chunk of child.stdout) printed += String(chunk);
  return printed.trim();
}
