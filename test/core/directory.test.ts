import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { keepFromWriters, makeDirectory } from "../../src/core/directory.ts";

async function temporary(test: {
  teardown(run: () => Promise<void>): void;
}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-directory-"));
  test.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

void t.test(
  "a directory is made with its parents, for its owner alone, and left as it is where it is there",
  async (t) => {
    const path = join(await temporary(t), "a", "b", "c");
    await makeDirectory(path);
    await makeDirectory(path);
    t.equal((await stat(path)).mode & 0o777, 0o700);
    t.equal((await stat(join(path, ".."))).mode & 0o777, 0o700);
  },
);

void t.test(
  "many that want the same parents at once all get theirs",
  async (t) => {
    const directory = await temporary(t);
    for (let round = 0; round < 50; round += 1) {
      const parent = join(directory, String(round), "sidecars");
      await t.resolves(
        Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            makeDirectory(join(parent, String(index))),
          ),
        ),
      );
    }
  },
);

void t.test("what cannot be made is the system's error", async (t) => {
  const file = join(await temporary(t), "file");
  await writeFile(file, "");
  await t.rejects(makeDirectory(file), { code: "EEXIST" });
  await t.rejects(makeDirectory(join(file, "x")), { code: "ENOTDIR" });
  await t.rejects(makeDirectory("/proc/wherry/state"), { code: "ENOENT" });
});

void t.test(
  "one that others write is its owner's alone to write",
  async (t) => {
    const path = await temporary(t);
    const rows = [
      [0o777, 0o755, undefined],
      [0o2770, 0o2750, undefined],
      [0o700, 0o700, undefined],
      [0o1777, 0o1777, /every user .* can replace what is in .*chmod go-w/],
      [0o1770, 0o1770, undefined],
    ] as const;
    for (const [before, after, warning] of rows) {
      const what = before.toString(8);
      await chmod(path, before);
      const said = await keepFromWriters(path);
      if (warning === undefined) t.equal(said, undefined, what);
      else t.match(said, warning, what);
      t.equal((await stat(path)).mode & 0o7777, after, what);
    }
  },
);
