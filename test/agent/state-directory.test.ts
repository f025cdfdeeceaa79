import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import {
  CONFIG_FILE,
  readConfig,
  writeConfig,
} from "../../src/agent/kept-config.ts";
import { openStateDirectory } from "../../src/agent/state-directory.ts";
import { systemClock } from "../../src/core/clock.ts";
import {
  keptConfig,
  OWNER,
  PROGRAM,
} from "../support/control-plane/kept-config.ts";
import { temporaryDirectory } from "../support/control-plane/push-control-plane.ts";
import { whileReadOnly } from "../support/faults/read-only.ts";

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
  await chmod(path, 0o1777);
  t.match(
    (await openStateDirectory(path)).warning,
    /is open to others .*all users share it/,
  );
  t.equal((await stat(path)).mode & 0o7777, 0o1777, "as /tmp is");
});

void t.test("a directory that may only be read is read", async (t) => {
  const path = join(await temporaryDirectory(t), "state");
  const before = await openStateDirectory(path);
  t.equal(before.readOnly, undefined);
  await before.write("a.json", CONTENT);
  await writeFile(join(path, "a.json.0a1b2c3d.tmp"), "half");
  await whileReadOnly(path, async () => {
    const directory = await openStateDirectory(path);
    t.match(directory.readOnly, /state may only be read: EACCES.*; what it/);
    t.equal(directory.warning, undefined);
    t.same(await directory.read("a.json"), {
      kind: "content",
      content: CONTENT,
    });
    await t.rejects(directory.write("a.json", {}), { code: "EACCES" });
  });
  const after = await openStateDirectory(path);
  t.same(await after.read("a.json"), { kind: "content", content: CONTENT });
  t.same(await readdir(path), ["a.json"], "cleared once that is possible");
});

void t.test("one that cannot even be read is refused", async (t) => {
  const path = join(await temporaryDirectory(t), "state");
  await openStateDirectory(path);
  await whileReadOnly(
    path,
    () =>
      t.rejects(openStateDirectory(path), {
        name: "UserError",
        message: /state cannot be used: EACCES/,
      }),
    0o100,
  );
});

void t.test(
  "what is open to others and cannot be closed is used and told of",
  async (t) => {
    if (process.geteuid?.() !== 0) {
      t.comment("only root can make files of others");
      return;
    }
    const path = join(await temporaryDirectory(t), "state");
    await (await openStateDirectory(path)).write("a.json", CONTENT);
    const file = join(path, "a.json");
    await whileReadOnly(
      path,
      async () => {
        process.seteuid?.(0);
        await chown(path, 0, 0);
        await chown(file, 0, 0);
        await chmod(file, 0o644);
        process.seteuid?.(65_534);
        const directory = await openStateDirectory(path);
        t.match(directory.warning, /state is open to others \(mode 0777\)/);
        const stored = await directory.read("a.json");
        t.match(stored, {
          kind: "content",
          content: CONTENT,
          warning:
            /a\.json is open to others \(mode 0644\) and cannot be closed/,
        });
        process.seteuid?.(0);
        await chmod(file, 0o440);
        process.seteuid?.(65_534);
        t.same(
          await directory.read("a.json"),
          { kind: "content", content: CONTENT },
          "as a volume for a group has it",
        );
      },
      0o777,
    );
  },
);

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

void t.test("what another user has put there is not believed", async (t) => {
  if (process.geteuid?.() !== 0) {
    t.comment("only root can make files of others");
    return;
  }
  const path = join(await temporaryDirectory(t), "state");
  const directory = await openStateDirectory(path);
  await directory.write("a.json", CONTENT);
  const [json, config] = [join(path, "a.json"), join(path, CONFIG_FILE)];
  await writeConfig(directory, keptConfig(1), OWNER, PROGRAM);
  const [group = 0] = process.getgroups?.() ?? [];
  const rows = [
    [1234, 12_345, 0o644, false],
    [1234, group, 0o644, false],
    [1234, group, 0o640, true],
    [0, 12_345, 0o644, true],
    [65_534, 12_345, 0o600, true],
  ] as const;
  for (const [uid, gid, mode, used] of rows) {
    const what = `${uid} ${gid} ${mode.toString(8)}`;
    await whileReadOnly(
      path,
      async () => {
        process.seteuid?.(0);
        for (const file of [json, config]) {
          await chmod(file, mode);
          await chown(file, uid, gid);
        }
        process.seteuid?.(65_534);
        const stored = await directory.read("a.json");
        t.equal(stored.kind, used ? "content" : "damaged", what);
        if (stored.kind === "damaged")
          t.match(stored.reason, /belongs to another user \(uid 1234, this is/);
        const read = await readConfig(directory, OWNER, PROGRAM, systemClock);
        if (used) t.same(read, keptConfig(1), `${what}: config`);
        else t.match(read, { reason: /belongs to another user/ });
      },
      0o755,
    );
  }
});
