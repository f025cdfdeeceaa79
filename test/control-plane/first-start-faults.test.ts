/** The first start of a control plane: each file operation fails once, or is the last one that the process did; the next start makes it whole. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  startControlPlane,
  type ControlPlane,
} from "../../src/control-plane/control-plane.ts";
import { systemClock } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { watchFiles, type Faults } from "../support/faults/fs-faults.ts";
import { temporaryDirectory } from "../support/control-plane/push-control-plane.ts";

const FAULTS: readonly Faults[] = [
  { write: "ENOSPC", read: "EIO" },
  { write: "EIO", read: "EMFILE" },
  { write: "EMFILE", read: "ENFILE" },
  { write: "EROFS", read: "EIO" },
];

function start(stateDirectory: string): Promise<ControlPlane> {
  return startControlPlane({
    stateDirectory,
    store: "sqlite",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
}

/** It has its Mesh, its authority, and an administrator whose token is in the file. */
async function checkWhole(t: Test, what: string, state: string): Promise<void> {
  const plane = await start(state).catch((thrown: unknown) => {
    throw new Error(what, { cause: thrown });
  });
  try {
    const token = (await readFile(plane.adminTokenFile, "utf8")).trim();
    const { status } = await fetch(`${plane.apiUrl}/status`, {
      headers: { authorization: `Bearer ${token}` },
    });
    t.equal(status, 200, what);
  } finally {
    await plane.close();
  }
}

/** How many operations a first start does. */
async function countOperations(directory: string): Promise<number> {
  const state = join(directory, "model");
  const files = watchFiles(state);
  const plane = await start(state);
  const count = files.operations.length;
  files.release();
  await plane.close();
  return count;
}

void t.test("an operation that fails once", async (t) => {
  const directory = await temporaryDirectory(t);
  const count = await countOperations(directory);
  t.ok(count > 25, `${count} operations`);
  for (let number = 1; number <= count; number += 1) {
    const state = join(directory, String(number));
    const files = watchFiles(state);
    files.failAt(number, FAULTS[number % FAULTS.length] ?? {});
    const what = `${number}`;
    try {
      await (await start(state)).close();
    } catch (thrown) {
      if (!(thrown instanceof UserError)) t.fail(what, { cause: thrown });
    }
    files.release();
    await checkWhole(
      t,
      `${what}: ${files.operations[number - 1]?.name ?? ""}`,
      state,
    );
  }
});

void t.test("an operation that is the last one", async (t) => {
  const directory = await temporaryDirectory(t);
  const count = await countOperations(directory);
  for (let number = 1; number <= count; number += 1) {
    const state = join(directory, String(number));
    const files = watchFiles(state);
    files.onOperation = (at) => {
      if (at === number) files.failAll({ write: "EIO", read: "EIO" });
    };
    await t.rejects(start(state), String(number));
    files.release();
    await checkWhole(
      t,
      `after ${files.operations[number - 1]?.name ?? ""}`,
      state,
    );
  }
});
