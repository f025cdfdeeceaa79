/** Writes of one turn share a flush, and each has its own fate where it fails by its own fault. */
import t from "tap";
import {
  GroupCommit,
  type Plan,
  type Write,
} from "../../../src/control-plane/store/group-commit.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import type { Resource } from "../../../src/resources/envelope.ts";

function key(name: string): Write["key"] {
  return { kind: "Service", namespace: "shop", name };
}

function resource(name: string, revision: number): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace: "shop", resourceVersion: String(revision) },
    spec: {},
  };
}

/** Writes the resource where its revision is the expected one; gives the new one. */
function put(name: string, expected: number | undefined): Plan<number> {
  return (find, newest) => {
    const before = find(key(name));
    const actual = before && Number(before.metadata.resourceVersion);
    if (actual !== expected) throw new Error(`${name} is at ${String(actual)}`);
    const revision = newest + 1;
    const after = resource(name, revision);
    return {
      writes: [{ key: key(name), before, after, revision }],
      acts: [],
      result: revision,
    };
  };
}

/** Looks, and changes nothing. */
const look =
  (name: string): Plan<string | undefined> =>
  (find) => ({
    writes: [],
    acts: [],
    result: find(key(name))?.metadata.resourceVersion,
  });

interface Disk {
  readonly group: GroupCommit;
  readonly flushes: Write[][];
  full: boolean;
  /** A flush takes as long as this. */
  slow: Promise<unknown>;
}

function disk(): Disk {
  const table = new Map<string, Resource>();
  const flushes: Write[][] = [];
  const made: Disk = {
    flushes,
    full: false,
    slow: Promise.resolve(),
    group: new GroupCommit({
      find: ({ name }) => table.get(name),
      newest: () => flushes.flat().length,
      async commit(writes) {
        await made.slow;
        if (made.full) throw new Error("the disk is full");
        for (const { key: each, after } of writes)
          if (after !== undefined) table.set(each.name, after);
        flushes.push([...writes]);
      },
    }),
  };
  return made;
}

void t.test("what comes in one turn is one flush, in its order", async (t) => {
  const { group, flushes } = disk();
  const results = await Promise.all([
    group.run(put("a", undefined)),
    group.run(put("b", undefined)),
    group.run(put("a", 1)),
  ]);
  t.same(results, [1, 2, 3]);
  t.equal(flushes.length, 1);
  t.equal(await group.run(put("b", 2)), 4);
  t.equal(flushes.length, 2);
});

void t.test("a conflict is one writer's alone", async (t) => {
  const { group, flushes } = disk();
  const results = await Promise.allSettled([
    group.run(put("a", undefined)),
    group.run(put("a", undefined)),
    group.run(put("b", undefined)),
  ]);
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  t.match(results[1], { reason: { message: "a is at 1" } });
  t.equal(flushes.flat().length, 2);
});

void t.test("what the disk does not take is nobody's", async (t) => {
  const made = disk();
  const { group } = made;
  await group.run(put("a", undefined));
  made.full = true;
  const results = await Promise.allSettled([
    group.run(look("a")),
    group.run(put("a", 1)),
    group.run(put("b", undefined)),
    group.run(look("a")),
    group.run(look("c")),
  ]);
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "rejected", "rejected", "fulfilled"],
    "one that looked at what was not written fails with it",
  );
  made.full = false;
  t.equal(await group.run(put("b", undefined)), 2, "as if nothing had been");
});

void t.test("what comes while the disk writes is the next flush", async (t) => {
  const made = disk();
  const { group, flushes } = made;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  made.slow = promise;
  const first = group.run(put("a", undefined));
  await nextTurn();
  const later = [group.run(put("a", 1)), group.run(put("b", undefined))];
  const idle = group.idle();
  await nextTurn();
  t.same(flushes, [], "none is planned on what is not on the disk yet");
  resolve(undefined);
  t.same(await Promise.all([first, ...later]), [1, 2, 3]);
  t.same(
    flushes.map(({ length }) => length),
    [1, 2],
  );
  await idle;
});
