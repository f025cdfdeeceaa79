/** Memory that workers share: regions by name, given back by the last; counters that hold exactly while threads race for them. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import {
  counterOf,
  joinSharedState,
  makeSharedState,
  type SharedState,
} from "../../../src/core/shared/shared-state.ts";
import {
  makeSharedMemory,
  shareMemory,
} from "../../../src/core/shared/shared-memory.ts";

void t.test("who asks for the same name gets the same words", (t) => {
  const one = makeSharedMemory();
  const two = shareMemory(one.buffer);
  const first = one.region("cap orders.shop:80", 4);
  const second = two.region("cap orders.shop:80", 4);
  const other = two.region("cap web.shop:80", 4);
  if (first === undefined || second === undefined || other === undefined)
    throw new Error("no room");
  first.words[3] = 7;
  t.equal(second.words[3], 7);
  t.equal(other.words[3], 0);
  t.end();
});

void t.test("the last one to let go gives it back, cleared", (t) => {
  const one = makeSharedMemory();
  const two = shareMemory(one.buffer);
  const first = one.region("a", 16);
  const second = two.region("a", 16);
  if (first === undefined || second === undefined) throw new Error("no room");
  first.words[0] = 1;
  first.close();
  first.close();
  t.equal(second.words[0], 1, "another still has it");
  t.equal(two.region("a", 16)?.words[0], 1);
  second.close();
  t.equal(one.region("a", 16)?.words[0], 1, "as one does that asked twice");
  t.end();
});

void t.test(
  "as many as come and go, nothing is lost and nothing grows",
  (t) => {
    const memory = makeSharedMemory();
    const held = new Map<string, ReturnType<typeof memory.region>>();
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let step = 0; step < 60_000; step += 1) {
      const name = `cluster ${random(3000)}`;
      const known = held.get(name);
      if (known === undefined) {
        const region = memory.region(name, 16 * 2 ** random(3));
        if (region === undefined) {
          t.fail(`no room after ${step} steps`);
          break;
        }
        if (region.words.some((word) => word !== 0)) {
          t.fail("what was let go of was still there");
          break;
        }
        region.words.fill(step);
        region.words[0] = step;
        held.set(name, region);
      } else {
        if (known.words.some((word) => word !== known.words[0])) {
          t.fail("somebody else wrote there");
          break;
        }
        known.close();
        held.delete(name);
      }
    }
    t.pass("each region was its name's alone");
    t.end();
  },
);

void t.test(
  "where there is no room it says so, and what is there stays",
  (t) => {
    const memory = makeSharedMemory();
    const regions: unknown[] = [];
    let last = memory.region("0", 2 ** 16);
    while (last !== undefined) {
      regions.push(last);
      last = memory.region(String(regions.length), 2 ** 16);
    }
    t.ok(regions.length > 10 && regions.length < 100);
    for (
      let more = 0;
      memory.region(`small ${more}`, 16) !== undefined;
      more += 1
    )
      if (more > 16_384) throw new Error("more than there can be");
    t.ok(memory.region("0", 2 ** 16), "the first is still found");
    // Counted by each worker alone, against its part of the limit.
    const sharedState: SharedState = { ...makeSharedState(2), memory };
    const counter = counterOf(sharedState, "no room for this");
    t.same(
      [counter.enter(4), counter.enter(4), counter.enter(4)],
      [true, true, false],
    );
    t.end();
  },
);

void t.test(
  "a counter holds its limit, and outlives its close for those who are in",
  (t) => {
    const sharedState = makeSharedState(2);
    const memory = sharedState.memory?.buffer;
    const { rates } = sharedState;
    if (memory === undefined || rates === undefined)
      throw new Error("no memory");
    const other = joinSharedState(1, { workers: 2, memory, rates });
    const here = counterOf(sharedState, "cap");
    const there = counterOf(other, "cap");
    t.ok(here.enter(2) && there.enter(2));
    t.notOk(here.enter(2));
    t.equal(here.value, 2);
    there.leave();
    t.ok(here.enter(2));
    here.close();
    here.leave();
    here.leave();
    t.equal(there.value, 0);
    t.ok(here.enter(1), "a request that outlives its cluster counts by itself");
    here.leave();
    t.equal(there.value, 0);
    there.close();
    t.equal(counterOf(other, "cap").value, 0);
    t.end();
  },
);

void t.test("a limit holds exactly while threads race for it", async (t) => {
  const sharedState = makeSharedState(2);
  const memory = sharedState.memory?.buffer;
  const { rates } = sharedState;
  if (memory === undefined || rates === undefined) throw new Error("no memory");
  const source = `
    const { workerData, parentPort } = require("node:worker_threads");
    import(workerData.module).then(({ counterOf, joinSharedState }) => {
      const counter = counterOf(joinSharedState(workerData.worker, workerData.data), "cap");
      const most = new Int32Array(workerData.most);
      const inside = new Int32Array(workerData.inside);
      let entered = 0;
      for (let turn = 0; turn < 200000; turn += 1) {
        if (!counter.enter(3)) continue;
        entered += 1;
        const now = Atomics.add(inside, 0, 1) + 1;
        if (now > Atomics.load(most, 0)) Atomics.store(most, 0, now);
        Atomics.sub(inside, 0, 1);
        counter.leave();
      }
      parentPort.postMessage({ entered, value: counter.value });
    });`;
  const most = new SharedArrayBuffer(4);
  const inside = new SharedArrayBuffer(4);
  const module = new URL(
    "../../../src/core/shared/shared-state.ts",
    import.meta.url,
  ).href;
  const threads = [0, 1].flatMap((worker) =>
    [0, 1].map(
      () =>
        new Worker(source, {
          eval: true,
          workerData: {
            module,
            worker,
            most,
            inside,
            data: { workers: 2, memory, rates },
          },
        }),
    ),
  );
  for (const message of await Promise.all(
    threads.map((thread) => once(thread, "message")),
  ))
    t.match(message, [{ entered: Number }]);
  t.ok((new Int32Array(most)[0] ?? 0) <= 3);
  t.equal(counterOf(sharedState, "cap").value, 0);
});
