/** A disk that is full or fails: writes are refused whole, reads go on, and the store is well again by itself. */
import { statSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { AUDIT_LIMITS } from "../../../src/control-plane/audit/audit.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { machineErrors } from "../../../src/core/machine/machine-counts.ts";
import { silentLogger, type Logger } from "../../../src/core/log.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  fill,
  limitFileSize,
  smallDisk,
} from "../../support/faults/full-disk.ts";
import {
  key,
  put,
  service,
} from "../../support/control-plane/store-contract/fixtures.ts";

const AUTHOR = { by: "ApiToken/1", from: "127.0.0.1", request: "r" };
const ALL = { readable: "all", limit: 10 } as const;
/** A resource that takes more room than the pages that are there. */
const LARGE = service("large", 80, {
  annotations: { large: "x".repeat(200_000) },
});

function recorder(): { readonly logger: Logger; readonly told: string[] } {
  const told: string[] = [];
  const note =
    (level: string) =>
    (...args: unknown[]): void =>
      void told.push(`${level} ${String(args.at(-1))}`);
  return {
    told,
    logger: Object.assign(Object.create(silentLogger) as Logger, {
      error: note("error"),
      info: note("info"),
    }),
  };
}

/** Calls of the store are made in their order: behind a reading, a probe is over. */
async function untilWell(
  store: Store,
  clock: Pick<FakeClock, "advance">,
): Promise<void> {
  for (let second = 0; second < 3 && store.fault !== undefined; second += 1) {
    clock.advance(1000);
    await store.note("n");
  }
}

async function failsAndRecovers(
  t: Test,
  directory: string,
  makeFull: () => () => void,
  code: string,
): Promise<void> {
  const file = join(directory, "store.sqlite");
  const clock = fakeClock();
  const { logger, told } = recorder();
  // An entry that was not written takes no place from those that are.
  const audit = { ...AUDIT_LIMITS, entries: 1 };
  const store = await openSqliteStore({ file, clock, logger, audit });
  await store.put(service("a"), "absent");
  await store.setNote("n", "1");
  t.equal(store.fault, undefined);

  const makeRoom = makeFull();
  const refused = { name: "StoreError", code, message: /cannot be written/ };
  await t.rejects(store.put(LARGE, undefined, AUTHOR), refused);
  await t.rejects(
    store.transact([put("b"), { resource: LARGE, expected: undefined }]),
    refused,
  );
  await t.rejects(
    store.setNotes(new Map([["large", "x".repeat(200_000)]])),
    refused,
  );
  t.match(store.fault ?? "", /cannot be written: .* \(SQLITE_/);
  t.equal(await store.revision(), 1);
  t.same((await store.get(key("a")))?.spec, { ports: [{ port: 80 }] });
  t.equal(await store.get(key("b")), undefined);
  t.equal((await store.list("Service")).resources.length, 1);
  t.equal(await store.note("n"), "1", "notes are read from the disk");
  t.same((await store.audited(ALL)).entries, [], "nor is it in the audit log");
  t.equal(told.length, 1, "told once");
  t.match(told[0] ?? "", /^error .*store\.sqlite cannot be written/);

  makeRoom();
  await untilWell(store, clock);
  t.equal(store.fault, undefined, "a small write has succeeded");
  t.match(told[1] ?? "", /^info .*can be written again/);
  t.equal(clock.pending, 0, "and there are no more of them");
  await store.put(LARGE, "absent", AUTHOR);
  t.equal(told.length, 2);
  const counted = [...machineErrors()].find(({ error }) => error === code);
  t.ok((counted?.count ?? 0) >= 3);
  await store.close();

  const again = await openSqliteStore({ file, clock });
  t.equal(await again.revision(), 2);
  t.equal((await again.get(key("large")))?.metadata.name, "large");
  t.match(
    (await again.audited(ALL)).entries,
    [{ ...AUTHOR, verb: "create", name: "large", revision: 2 }],
    "the audit log is in the file",
  );
  t.same([...(await again.notes("")).keys()], ["n"], "the tries left nothing");
  await again.close();
}

void t.test("a disk without room (ENOSPC)", async (t) => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) {
    t.pass("root alone may mount one");
    return;
  }
  t.teardown(() => disk.unmount());
  const { directory } = disk;
  await failsAndRecovers(t, directory, () => fill(directory), "SQLITE_FULL");
});

void t.test("a file that may not grow (EFBIG)", async (t) => {
  const directory = t.testdir();
  await failsAndRecovers(
    t,
    directory,
    () => {
      const { size } = statSync(join(directory, "store.sqlite-wal"));
      return limitFileSize(process.pid, size);
    },
    "SQLITE_IOERR",
  );
});

void t.test(
  "while it cannot be written, it is tried each second",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "store.sqlite");
    const clock = fakeClock();
    const store = await openSqliteStore({ file, clock });
    await store.put(service("a"), "absent");
    const lift = limitFileSize(process.pid, 4096);
    await t.rejects(store.put(service("b"), "absent"));
    clock.advance(30_000);
    t.match(store.fault ?? "", /SQLITE_IOERR/);
    lift();
    await untilWell(store, clock);
    t.equal(store.fault, undefined);
    await store.put(service("b"), "absent");
    const full = limitFileSize(process.pid, 4096);
    await t.rejects(store.put(service("c"), "absent"));
    await store.close();
    full();
    t.equal(clock.pending, 0, "a store that is closed is not tried");
  },
);
