/** Writes of one turn share a flush, and each has its own fate where it fails by its own fault. */
import t from "tap";
import {
  GroupCommit,
  LONGEST_WAIT,
  MOST_WAITING,
  type Plan,
  type Write,
} from "../../../src/control-plane/store/group-commit.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

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
  readonly clock: ReturnType<typeof fakeClock>;
  readonly group: GroupCommit;
  readonly flushes: Write[][];
  full: boolean;
}

function disk(): Disk {
  const table = new Map<string, Resource>();
  const flushes: Write[][] = [];
  const clock = fakeClock();
  const made: Disk = {
    ...{ clock, flushes },
    full: false,
    group: new GroupCommit({
      clock,
      find: ({ name }) => table.get(name),
      newest: () => flushes.flat().length,
      commit(writes) {
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

void t.test("it can be flushed before its time", async (t) => {
  const { group, flushes } = disk();
  const written = group.run(put("a", undefined));
  t.equal(flushes.length, 0);
  group.flush();
  t.equal(flushes.length, 1);
  t.equal(await written, 1);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(flushes.length, 1);
});

void t.test(
  "a writer that never pauses postpones nothing: by count",
  async (t) => {
    const { group, flushes } = disk();
    const written: Promise<number>[] = [];
    // No turn of the event loop comes between them.
    for (let count = 0; count < 2 * MOST_WAITING + 1; count += 1) {
      written.push(group.run(put(`s${count}`, undefined)));
      await Promise.resolve();
    }
    t.same(
      flushes.map(({ length }) => length),
      [MOST_WAITING, MOST_WAITING],
    );
    t.equal(await written.at(-1), 2 * MOST_WAITING + 1, "the rest follows");
    t.equal(flushes.length, 3);
  },
);

void t.test("a writer that never pauses postpones nothing: by age", (t) => {
  const { group, flushes, clock } = disk();
  const run = (name: string): void => void group.run(put(name, undefined));
  run("a");
  clock.advance(LONGEST_WAIT - 1);
  run("b");
  t.equal(flushes.length, 0);
  clock.advance(1);
  run("c");
  t.equal(flushes.length, 1);
  t.equal(flushes[0]?.length, 3);
  // The next ones are counted from their own first.
  run("d");
  clock.advance(LONGEST_WAIT - 1);
  run("e");
  t.equal(flushes.length, 1);
  t.end();
});
