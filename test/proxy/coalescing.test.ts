// When calls wait for each other and for how long, by a clock and a nap that the test moves.
import { EventEmitter } from "node:events";
import { createServer, type Socket } from "node:net";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import type { Nap } from "../../src/core/nap.ts";
import {
  COALESCED,
  LONGEST_REST,
  makeCoalescing,
  OFTEN,
  PHASE,
  SELDOM,
} from "../../src/proxy/coalescing.ts";
import { poolSettingsOf } from "../../src/proxy/upstream/endpoints.ts";
import { makePools } from "../../src/proxy/upstream/pools.ts";
import { TRAFFIC_DEFAULTS } from "../../src/resources/traffic-policy.ts";
import { watchSource } from "../../src/core/watch.ts";
import { fakeClock } from "../harness/fake-clock.ts";
import { listening } from "../harness/pair.ts";

/** Milliseconds between two calls, at 4,000 a second. */
const BETWEEN = 0.25;

function socket(): Socket {
  return new EventEmitter() as unknown as Socket;
}

interface Rig {
  /** So many calls of one caller, `ms` after each other or when he has been waited for; how often the thread waited. */
  readonly calls: (count: number, ms: number) => number;
  /** So many calls of callers who do not wait for each other: each `ms` after the one before, whatever the thread does meanwhile. */
  readonly independent: (count: number, ms: number) => number;
  /** Milliseconds of each nap. */
  readonly naps: number[];
  /** What ends naps. */
  readonly chosen: Set<Socket>;
  readonly coalescing: ReturnType<typeof makeCoalescing>;
  /** Whether the next naps are ended by an answer, in their turn, after so many milliseconds. */
  readonly answers: number[];
  readonly made: number;
  readonly waits: number;
}

function rig(available = true): Rig {
  const clock = fakeClock();
  const naps: number[] = [];
  const chosen = new Set<Socket>();
  const answers: number[] = [];
  let made = 0;
  let waits = 0;
  let next: (() => void) | undefined;
  const nap: Nap = {
    endsWith: (socket) => void chosen.add(socket),
    take(ms) {
      naps.push(ms);
      const answer = answers.shift();
      clock.advance(answer ?? ms);
      return answer !== undefined;
    },
    close: () => chosen.clear(),
  };
  const coalescing = makeCoalescing({
    clock,
    onWait: () => (waits += 1),
    nap() {
      made += 1;
      return available ? nap : undefined;
    },
    beforeWaiting: (run) => (next = run),
  });
  const endTurn = (): void => {
    while (next !== undefined) {
      const run = next;
      next = undefined;
      run();
    }
  };
  const until = (due: number): void =>
    clock.advance(Math.max(0, due - clock.now()));
  return {
    naps,
    chosen,
    coalescing,
    answers,
    get made() {
      return made;
    },
    get waits() {
      return waits;
    },
    calls(count, ms) {
      const before = naps.length;
      for (let call = 0; call < count; call += 1) {
        const due = clock.now() + ms;
        coalescing.arrived();
        endTurn();
        until(due);
      }
      return naps.length - before;
    },
    independent(count, ms) {
      const before = naps.length;
      let due = clock.now();
      for (let call = 0; call < count; call += 1) {
        // What became due during a nap comes in one turn.
        if (due > clock.now()) {
          endTurn();
          until(due);
        }
        coalescing.arrived();
        due += ms;
      }
      endTurn();
      until(due);
      return naps.length - before;
    },
  };
}

for (const [what, ms, waits] of [
  ["a call a millisecond", 1, false],
  ["just too seldom", SELDOM * 1.02, false],
  ["just often enough", SELDOM * 0.98, true],
  ["4,000 a second", BETWEEN, true],
  ["just not too often", OFTEN * 1.02, true],
  ["so often that they meet anyway", OFTEN * 0.98, false],
] as const)
  void t.test(`${what}: ${waits ? "they wait" : "none waits"}`, (t) => {
    const fresh = rig();
    const { calls } = fresh;
    t.equal(calls(PHASE - 1, ms), 0, "until it is known how often they come");
    t.equal(fresh.made, 0, "no nap is made before it is of use");
    t.equal(calls(1, ms) > 0, waits);
    t.equal(fresh.made, waits ? 1 : 0);
    t.end();
  });

void t.test("they wait for two more", (t) => {
  const { calls, naps } = rig();
  calls(PHASE, BETWEEN);
  t.equal(naps.length, 1);
  const [first = 0] = naps;
  // Less the slack of the timer by which the nap ends.
  t.ok(first > 2 * BETWEEN - 0.06 && first <= 2 * BETWEEN, String(first));
  t.end();
});

void t.test(
  "answers are handled in between, and the wait goes on for what is left",
  (t) => {
    const { calls, naps, answers } = rig();
    answers.push(0.1, 0.2);
    calls(PHASE, BETWEEN);
    const [first = 0, second = 0, third = 0] = naps;
    t.equal(naps.length, 3);
    t.ok(Math.abs(first - second - 0.1) < 1e-9);
    t.ok(Math.abs(second - third - 0.2) < 1e-9);
    t.end();
  },
);

void t.test(
  "a wait that is nearly over when the turn ends is not begun",
  (t) => {
    const { calls, naps, answers } = rig();
    answers.push(0.5);
    calls(PHASE, BETWEEN);
    t.equal(naps.length, 1, "an answer came near its end");
    t.end();
  },
);

void t.test("callers who are slowed down are let be, longer each time", (t) => {
  const { calls } = rig();
  /** Calls until there is a wait, as callers make them who call again when they have their answer. */
  const untilWait = (): number => {
    let count = 0;
    while (calls(1, BETWEEN) === 0) count += 1;
    return count;
  };
  t.equal(untilWait(), PHASE - 1);
  let rest = PHASE;
  for (let round = 0; round < 14; round += 1) {
    // Each call waits now, and so comes more seldom: seen when a phase is over.
    t.equal(calls(PHASE - 1, BETWEEN), PHASE - 1, "every one waits");
    t.equal(untilWait(), rest + PHASE, `rest ${round}`);
    rest = Math.min(rest * 2, LONGEST_REST);
  }
  t.equal(rest, LONGEST_REST);
  t.end();
});

void t.test(
  "callers who come as before wait on, and are measured anew now and then",
  (t) => {
    const { independent } = rig();
    t.equal(independent(PHASE - 1, BETWEEN), 0);
    const calls = PHASE * COALESCED;
    const waits = independent(calls, BETWEEN);
    // A wait is for two calls more, of which the second may come just behind its end.
    t.ok(waits > calls / 4 && waits < calls * 0.6, `${waits} for ${calls}`);
    t.equal(independent(PHASE, BETWEEN), 0, "one phase without");
    t.ok(independent(PHASE, BETWEEN) > 0);
    t.end();
  },
);

void t.test("callers who come a fifth more seldom are waited for on", (t) => {
  const { independent } = rig();
  independent(PHASE, BETWEEN);
  for (let phase = 1; phase < COALESCED; phase += 1)
    t.ok(independent(PHASE, BETWEEN * 1.2) > 0);
  t.end();
});

void t.test("sockets that do not wait are known, whenever they came", (t) => {
  const { calls, coalescing, chosen } = rig();
  const before = socket();
  const gone = socket();
  const after = socket();
  coalescing.exempt(before);
  coalescing.exempt(gone);
  gone.emit("close");
  t.equal(chosen.size, 0, "nothing is opened before it is of use");
  calls(PHASE, BETWEEN);
  coalescing.exempt(after);
  t.same(chosen, new Set([before, after]));
  t.end();
});

void t.test("a system without such a wait is asked once", (t) => {
  const lone = rig(false);
  lone.coalescing.exempt(socket());
  t.equal(lone.calls(PHASE * 10, BETWEEN), 0);
  t.equal(lone.made, 1);
  t.end();
});

void t.test("after the end none waits; each wait is counted", (t) => {
  const ended = rig();
  ended.calls(PHASE, BETWEEN);
  t.equal(ended.waits, 1);
  ended.coalescing.close();
  ended.coalescing.close();
  ended.coalescing.exempt(socket());
  t.equal(ended.calls(PHASE * 4, BETWEEN), 0);
  t.equal(ended.waits, 1);
  t.end();
});

void t.test("every connection that answers come on is told of", async (t) => {
  const server = createServer((socket) => socket.resume());
  const port = await listening(server);
  const told = Promise.withResolvers<Socket>();
  const pools = makePools({
    clock: systemClock,
    credentials: watchSource(undefined),
    ownPorts: new Set(),
    linkProtocol: "h2",
    onConnected: told.resolve,
  });
  t.teardown(() => {
    pools.destroy();
    server.close();
  });
  pools
    .find(
      { kind: "plain", address: "127.0.0.1", port, protocol: "http/1.1" },
      poolSettingsOf(TRAFFIC_DEFAULTS),
    )
    .acquire(
      { mayRepeat: true },
      { connected: () => undefined, failed: told.reject },
    );
  t.equal((await told.promise).remotePort, port);
});
