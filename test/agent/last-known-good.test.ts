// The config that outlives a restart: whose it is, which program wrote it, and that a change adds what it changed.
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { CONFIG_FILE, type Kept } from "../../src/agent/kept-config.ts";
import { LastKnownGood } from "../../src/agent/last-known-good.ts";
import { replaceJournal } from "../../src/agent/journal.ts";
import type { ReceivedResource } from "../../src/agent/staging.ts";
import {
  openStateDirectory,
  type StateDirectory,
} from "../../src/agent/state-directory.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import {
  keptConfig,
  keptService,
  OWNER,
  PROGRAM,
} from "../support/control-plane/kept-config.ts";
import {
  temporaryDirectory,
  until,
  type Scope,
} from "../support/control-plane/push-control-plane.ts";
import { whileReadOnly } from "../support/faults/read-only.ts";

interface Disk {
  readonly directory: StateDirectory;
  readonly file: string;
  readonly clock: FakeClock;
  /** What was reported, in order. */
  readonly failures: (string | undefined)[];
  /** As a process that starts now would have it. */
  readonly open: (program?: string) => LastKnownGood;
  readonly bytes: () => Promise<string>;
}

async function disk(t: Scope): Promise<Disk> {
  const path = join(await temporaryDirectory(t), "state");
  const directory = await openStateDirectory(path);
  const file = join(path, CONFIG_FILE);
  const clock = fakeClock();
  const failures: (string | undefined)[] = [];
  return {
    directory,
    file,
    clock,
    failures,
    open: (program = PROGRAM) =>
      new LastKnownGood({
        directory,
        program,
        clock,
        logger: silentLogger,
        onFailure: (error) => failures.push(error),
      }),
    bytes: () => readFile(file, "latin1"),
  };
}

async function keep(kept: LastKnownGood, config: Kept): Promise<void> {
  kept.keep(config, OWNER);
  await kept.settled();
}

function one(resource: unknown): Kept {
  return {
    ...keptConfig(7),
    resources: new Map([
      ["Service/shop/orders", { version: "1", bytes: 10, resource }],
    ]) as ReadonlyMap<string, ReceivedResource>,
  };
}

void t.test("what this program kept is read as it is", async (t) => {
  const { open, directory } = await disk(t);
  t.equal(await open().read(OWNER), undefined);
  for (const revision of [1, 2, 3, 4, 60]) {
    await keep(open(), keptConfig(revision));
    t.same(await open().read(OWNER), keptConfig(revision));
  }
  t.same(await readdir(directory.path), [CONFIG_FILE], "nothing is left");
});

void t.test("a change adds what it changed, after a restart too", async (t) => {
  const { open, bytes, failures, file } = await disk(t);
  let kept = open();
  await keep(kept, keptConfig(1));
  const { ino } = await stat(file);
  let before = await bytes();
  for (const revision of [2, 3, 4, 5, 6, 7, 8]) {
    await keep(kept, keptConfig(revision));
    const after = await bytes();
    t.ok(after.startsWith(before), "nothing before it is written again");
    t.ok(after.length < before.length + 900, "one Service, at most two");
    before = after;
    kept = open();
    t.same(await kept.read(OWNER), keptConfig(revision));
  }
  t.equal((await stat(file)).ino, ino);
  t.strictSame(new Set(failures), new Set([undefined]));
});

for (const [name, version] of [
  ["another store", { store: "other" }],
  ["another branch", { branch: "b" }],
  ["an earlier revision", { revision: 0 }],
] as const)
  void t.test(`a name and version of ${name} is something else`, async (t) => {
    const { open, bytes } = await disk(t);
    const kept = open();
    const before = keptConfig(1);
    await keep(kept, before);
    const text = await bytes();
    // What did not come again is the same object.
    const [first = ""] = before.resources.keys();
    const resource = keptService("s0", { selector: { of: name } });
    const next = {
      ...before,
      version: { ...before.version, ...version },
      resources: new Map([
        ...before.resources,
        [first, { version: "0", bytes: 10, resource }],
      ]),
    };
    t.equal(before.resources.get(first)?.version, "0");
    await keep(kept, next);
    t.same(await open().read(OWNER), next);
    t.ok((await bytes()).length < text.length + 700, "nothing else is written");
  });

void t.test(
  "a file that has grown to twice its beginning begins anew",
  async (t) => {
    const { open, directory, file } = await disk(t);
    const kept = open();
    const large = "x".repeat(100_000);
    let inodes = new Set<number>();
    for (let revision = 1; revision <= 60; revision += 1) {
      const selector = { version: String(revision), large };
      const resource = keptService("orders", { selector });
      await keep(kept, {
        ...keptConfig(revision),
        resources: new Map([
          ["it", { version: String(revision), bytes: 1, resource }],
        ]),
      });
      const { size, ino } = await stat(file);
      t.ok(size < 2.3 * 1024 * 1024, `${size} bytes`);
      inodes = inodes.add(ino);
    }
    t.ok(inodes.size >= 2 && inodes.size <= 4, `${inodes.size} files`);
    t.match(await open().read(OWNER), { version: { revision: 60 } });
    t.same(await readdir(directory.path), [CONFIG_FILE]);
  },
);

void t.test(
  "what another version kept is held to this one's schemas, and not continued",
  async (t) => {
    const { open, bytes, file } = await disk(t);
    await keep(
      open("1.2.2"),
      one(keptService("orders", { selector: { a: "b" } })),
    );
    const { ino } = await stat(file);
    const kept = open();
    t.match(await kept.read(OWNER), { version: { revision: 7 } });
    await keep(kept, keptConfig(8));
    t.not((await stat(file)).ino, ino);
    t.match(await bytes(), `"program":"${PROGRAM}"`);
    await keep(open("1.2.2"), one(keptService("orders", { colour: "blue" })));
    t.match(await open().read(OWNER), {
      reason:
        /snapshot\.jsonl is not used: version "1\.2\.2" wrote it, and here Service shop\/orders: spec\.colour/,
    });
  },
);

void t.test("another owner's is ignored, and not continued", async (t) => {
  const { open, bytes } = await disk(t);
  const kept = open();
  await keep(kept, keptConfig(1));
  t.match(await open().read({ ...OWNER, name: "web-2" }), {
    reason: /it is the config of web-1/,
  });
  kept.keep(keptConfig(2), { ...OWNER, name: "web-2" });
  await kept.close();
  t.notMatch(await bytes(), "web-1");
  t.same(await open().read({ ...OWNER, name: "web-2" }), keptConfig(2));
});

void t.test("the format before has resources alone", async (t) => {
  const { open, directory, file, bytes } = await disk(t);
  for (const name of ["interest.json", "snapshot.json"])
    await directory.write(name, {});
  const { version, receivedAt, resources } = keptConfig(7);
  const lines = Array.from(resources, ([name, received]) =>
    JSON.stringify({ name, ...received }),
  );
  const head = { format: 4, owner: OWNER, program: PROGRAM };
  const closing = { version, receivedAt, count: resources.size };
  await replaceJournal(file, [JSON.stringify(head), ...lines], closing);
  const kept = open();
  const interest = { services: [], lookups: new Map() };
  t.same(await kept.read(OWNER), { ...keptConfig(7), interest });
  await keep(kept, keptConfig(8));
  t.match(await bytes(), '"format":5');
  t.same(await readdir(directory.path), [CONFIG_FILE], "nothing reads these");
  t.same(await open().read(OWNER), keptConfig(8));
});

void t.test("a newer format, and what does not add up", async (t) => {
  const { open, file } = await disk(t);
  const head = { format: 6, owner: OWNER, program: PROGRAM };
  await replaceJournal(file, [JSON.stringify(head)], { count: 0 });
  t.match(await open().read(OWNER), {
    reason:
      /jsonl is not used: it is of format 6, and this version reads 4 and 5/,
  });
  await replaceJournal(file, [JSON.stringify({ ...head, format: 5 })], {
    ...keptConfig(1),
    count: 1,
  });
  t.match(await open().read(OWNER), {
    reason: /jsonl is not used: it holds 0 entries, and says 1/,
  });
});

void t.test(
  "a file that somebody else replaced, cut or removed begins anew",
  async (t) => {
    const { open, file, bytes, failures } = await disk(t);
    const kept = open();
    await keep(kept, keptConfig(1));
    let revision = 1;
    for (const harm of [
      () => rm(file),
      async () => writeFile(file, (await bytes()).slice(0, -5)),
      async () => {
        const text = await bytes();
        await rm(file);
        await writeFile(file, text);
      },
    ]) {
      await harm();
      revision += 1;
      await keep(kept, keptConfig(revision));
      t.same(await open().read(OWNER), keptConfig(revision));
    }
    t.strictSame(new Set(failures), new Set([undefined]));
  },
);

void t.test(
  "what cannot be written is told of, tried again, and costs nothing that is there",
  async (t) => {
    const { open, directory, clock, failures } = await disk(t);
    const kept = open();
    await keep(kept, keptConfig(1));
    await whileReadOnly(directory.path, async () => {
      kept.keep(keptConfig(2), OWNER);
      await until(() => failures.length === 2);
      t.match(failures.at(-1), /the config cannot be kept in .*EACCES/);
      kept.keep(keptConfig(3), OWNER);
      clock.advance(2000);
      await until(() => clock.pending === 1);
      t.equal(failures.length, 2, "a small write fails, the large is spared");
      t.same(await open().read(OWNER), keptConfig(1));
    });
    clock.advance(1900);
    t.same(await open().read(OWNER), keptConfig(1), "not yet");
    clock.advance(100);
    await until(() => failures.length === 3);
    t.equal(failures.at(-1), undefined);
    t.same(await open().read(OWNER), keptConfig(3), "the newest");
    t.equal(clock.pending, 0);
  },
);

void t.test("a closed one leaves no timer", async (t) => {
  const { open, directory, clock, failures } = await disk(t);
  const kept = open();
  await whileReadOnly(directory.path, async () => {
    kept.keep(keptConfig(1), OWNER);
    await until(() => failures.length === 1);
    t.equal(clock.pending, 1);
    await kept.close();
    t.equal(clock.pending, 0);
  });
});

void t.test("a closed one writes over nothing of the next", async (t) => {
  const { open, directory, failures } = await disk(t);
  const older = open();
  await whileReadOnly(directory.path, async () => {
    older.keep(keptConfig(7), OWNER);
    await older.close();
    t.ok(failures.length > 0, "the disk did not take what it had");
  });
  await keep(open(), keptConfig(9));
  older.keep(keptConfig(8), OWNER);
  await older.settled();
  await older.close();
  t.same(await open().read(OWNER), keptConfig(9));
});
