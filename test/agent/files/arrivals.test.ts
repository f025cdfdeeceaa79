/** A file that was put in its place whole is told from one that is written where it stands. */
import {
  appendFile,
  link,
  mkdtemp,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Arrivals } from "../../../src/agent/files/arrivals.ts";
import { watchFiles } from "../../../src/agent/files/watch-files.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

type Event = readonly ["rename" | "change", string | null];

const rows: readonly (readonly [
  what: string,
  events: readonly Event[],
  whole: boolean,
])[] = [
  ["nothing was heard", [], false],
  ["it came", [["rename", "a"]], true],
  [
    "it was made and written",
    [
      ["rename", "a"],
      ["change", "a"],
    ],
    false,
  ],
  [
    "it was written, then another came",
    [
      ["change", "a"],
      ["rename", "a"],
    ],
    true,
  ],
  ["another file came", [["rename", "b"]], false],
  [
    "it came, and another was written",
    [
      ["rename", "a"],
      ["change", "b"],
    ],
    true,
  ],
  [
    "it came, and the kernel does not say what else",
    [
      ["rename", "a"],
      ["rename", null],
    ],
    false,
  ],
];

for (const [what, events, whole] of rows)
  void t.test(what, (t) => {
    for (const platform of ["linux", "darwin"] as const) {
      const arrivals = new Arrivals(platform);
      for (const [event, name] of events) arrivals.hear("/etc", event, name);
      t.equal(
        arrivals.take()("/etc/a"),
        whole && platform === "linux",
        platform,
      );
      t.equal(arrivals.take()("/etc/a"), false, "of the next look");
    }
    t.end();
  });

void t.test("no more names than ten thousand", (t) => {
  const arrivals = new Arrivals("linux");
  for (let index = 0; index <= 10_000; index += 1)
    arrivals.hear("/etc", "rename", `${index}`);
  const came = arrivals.take();
  t.equal(came("/etc/9999"), true);
  t.equal(came("/etc/10000"), false);
  t.end();
});

/** What real saves are taken for. */
const saves: Readonly<
  Record<string, readonly [(file: string) => Promise<void>, boolean]>
> = {
  "by a rename": [
    async (file) => {
      await writeFile(`${file}.new`, "new\n");
      await rename(`${file}.new`, file);
    },
    true,
  ],
  "by another link to a file that is written": [
    async (file) => {
      await writeFile(`${file}.new`, "new\n");
      await rm(file);
      await link(`${file}.new`, file);
    },
    true,
  ],
  "in place": [(file) => writeFile(file, "new\n"), false],
  "at its end": [(file) => appendFile(file, "new\n"), false],
  "with the old time of writing": [
    async (file) => {
      await writeFile(file, "new\n");
      await utimes(file, 0, 0);
    },
    false,
  ],
  "removed, and made anew": [
    async (file) => {
      await rm(file);
      await writeFile(file, "new\n");
    },
    false,
  ],
  "moved away, and made anew": [
    async (file) => {
      await rename(file, `${file}~`);
      await writeFile(file, "new\n");
    },
    false,
  ],
  "by a rename, then written to": [
    async (file) => {
      await writeFile(`${file}.new`, "new\n");
      await rename(`${file}.new`, file);
      await appendFile(file, "more\n");
    },
    false,
  ],
};

for (const [what, [save, whole]] of Object.entries(saves))
  void t.test(
    `${what}, through a link to the folder`,
    { skip: process.platform !== "linux" },
    async (t) => {
      const directory = realpathSync(
        await mkdtemp(join(tmpdir(), "wherry-arrivals-")),
      );
      const linked = `${directory}.link`;
      await symlink(directory, linked);
      const file = join(linked, "mesh.yaml");
      await writeFile(file, "old\n");
      const clock = fakeClock();
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const watcher = await watchFiles({
        list: () => Promise.resolve([file]),
        directories: [linked],
        clock,
        onChange(_, cameWhole) {
          resolve(cameWhole(join(directory, "mesh.yaml")));
          return Promise.resolve();
        },
      });
      t.teardown(async () => {
        await watcher.close();
        await rm(linked);
        await rm(directory, { recursive: true });
      });
      await save(file);
      let said: boolean | undefined;
      void promise.then((answer) => (said = answer));
      while (said === undefined) {
        clock.advance(50);
        await new Promise((done) => setImmediate(done));
      }
      t.equal(said, whole);
    },
  );
