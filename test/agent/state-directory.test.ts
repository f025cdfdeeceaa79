import {
  chmod,
  mkdir,
  readdir,
  readFile,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { openStateDirectory } from "../../src/agent/state-directory.ts";
import { temporaryDirectory } from "../support/push-control-plane.ts";

const CONTENT = {
  text: 'quotes " and } braces',
  list: [1, 2, 3],
  nested: { ü: null },
};

void t.test("what was written is read, by its owner alone", async (t) => {
  const path = join(await temporaryDirectory(t), "state");
  const directory = await openStateDirectory(path);
  t.same(await directory.read("a.json"), { kind: "none" });
  await directory.write("a.json", CONTENT);
  await directory.write("a.json", { ...CONTENT, again: true });
  t.same(await directory.read("a.json"), {
    kind: "content",
    content: { ...CONTENT, again: true },
  });
  t.equal((await stat(join(path, "a.json"))).mode & 0o777, 0o600);
  t.equal((await stat(path)).mode & 0o777, 0o700);
  t.same(await readdir(path), ["a.json"], "nothing is left beside it");
  t.match(
    JSON.parse(await readFile(join(path, "a.json"), "utf8")),
    { content: { ...CONTENT, again: true } },
    "a person can read it, too",
  );
});

void t.test("a directory that others may read is closed to them", async (t) => {
  const path = join(await temporaryDirectory(t), "state");
  await mkdir(path);
  await chmod(path, 0o755);
  await openStateDirectory(path);
  t.equal((await stat(path)).mode & 0o777, 0o700);
});

void t.test("a damaged file is reported and never believed", async (t) => {
  const path = await temporaryDirectory(t);
  const directory = await openStateDirectory(path);
  await directory.write("a.json", CONTENT);
  const whole = await readFile(join(path, "a.json"), "utf8");
  for (const [name, text] of [
    ["empty", ""],
    ["cut short", whole.slice(0, -10)],
    ["cut in the checksum", whole.slice(0, 30)],
    ["one character changed", whole.replace("braces", "bracez")],
    ["another checksum", whole.replace(/"[0-9a-f]{4}/, '"0000')],
    ["no checksum", JSON.stringify(CONTENT)],
    ["not JSON", "\0\0\0"],
  ] as const) {
    await writeFile(join(path, "a.json"), text);
    const stored = await directory.read("a.json");
    t.match(
      stored,
      { kind: "damaged", reason: /a\.json is ignored: its checksum/ },
      name,
    );
  }
});

void t.test(
  "what a crash in the middle of a write left is cleared away",
  async (t) => {
    const path = await temporaryDirectory(t);
    await writeFile(join(path, "a.json.0a1b2c3d.tmp"), "half");
    await writeFile(join(path, "other.tmp"), "not ours");
    await openStateDirectory(path);
    t.same(await readdir(path), ["other.tmp"]);
  },
);

void t.test("a directory that cannot be made says what to do", async (t) => {
  const path = await temporaryDirectory(t);
  await writeFile(join(path, "file"), "");
  await t.rejects(openStateDirectory(join(path, "file", "state")), {
    name: "UserError",
    message: /--state$/,
  });
});

void t.test("a write that fails leaves the old file", async (t) => {
  const path = await temporaryDirectory(t);
  const directory = await openStateDirectory(path);
  await mkdir(join(path, "a.json"));
  await t.rejects(directory.write("a.json", CONTENT));
  t.same(await readdir(path), ["a.json"]);
});
