// The config that outlives a restart: whose it is, which program wrote it, and what becomes of writes that fail.
import { createHash } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { CONFIG_FILE, type Kept } from "../../src/agent/kept-config.ts";
import { LastKnownGood } from "../../src/agent/last-known-good.ts";
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

void t.test(
  "what another version kept is held to this one's schemas",
  async (t) => {
    const { open, bytes } = await disk(t);
    await keep(
      open("1.2.2"),
      one(keptService("orders", { selector: { a: "b" } })),
    );
    const kept = open();
    t.match(await kept.read(OWNER), { version: { revision: 7 } });
    await keep(kept, keptConfig(8));
    t.match(await bytes(), `"program":"${PROGRAM}"`);
    await keep(open("1.2.2"), one(keptService("orders", { colour: "blue" })));
    t.match(await open().read(OWNER), {
      reason:
        /snapshot\.jsonl is not used: version "1\.2\.2" wrote it, and here Service shop\/orders: spec\.colour/,
    });
  },
);

void t.test("another owner's is ignored", async (t) => {
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

void t.test("another format is not read", async (t) => {
  const { open, file, bytes } = await disk(t);
  await keep(open(), keptConfig(7));
  const lines = (await bytes())
    .replace('"format":1', '"format":2')
    .split("\n")
    .slice(0, -2);
  const text = `${lines.join("\n")}\n`;
  const checksum = createHash("sha256").update(text).digest("hex");
  await writeFile(file, `${text}{"checksum":"${checksum}"}\n`);
  t.match(await open().read(OWNER), {
    reason: /jsonl is not used: it is of format 2, and this version reads 1/,
  });
});

void t.test("a file that was removed is there again", async (t) => {
  const { open, file, failures } = await disk(t);
  const kept = open();
  await keep(kept, keptConfig(1));
  await rm(file);
  await keep(kept, keptConfig(2));
  t.same(await open().read(OWNER), keptConfig(2));
  t.strictSame(new Set(failures), new Set([undefined]));
});

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
