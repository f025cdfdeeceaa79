/** Law 12: a sidecar goes, and comes, without a lost request. */
import t from "tap";
import { shutDown } from "../../src/sidecar/shutdown.ts";
import { silentLogger } from "../../src/core/log.ts";
import {
  fakeClock,
  passing,
  type FakeClock,
} from "../support/clocks/fake-clock.ts";
import { send, until, withPair } from "../support/meshes/pair.ts";

void t.test(
  "the order is: unready, deregistered, inbound refused and drained, the application gone, then outbound, then the end",
  async (t) => {
    const clock = fakeClock();
    const steps: string[] = [];
    let inbound = 1;
    let gone = false;
    let acknowledge: (() => void) | undefined;
    const over = shutDown({
      clock,
      logger: silentLogger,
      drainTimeout: 30_000,
      hurry: new AbortController().signal,
      steps: {
        unready: () => steps.push("unready"),
        deregister: () => {
          steps.push("deregister");
          return new Promise((resolve) => (acknowledge = resolve));
        },
        refuseInbound: () => steps.push("refuse inbound"),
        applicationGone: () => {
          if (steps.at(-1) !== "look") steps.push("look");
          return Promise.resolve(gone);
        },
        refuseOutbound: () => steps.push("refuse outbound"),
        depart: () => steps.push("depart"),
        inboundActive: () => inbound,
        outboundActive: () => 0,
        end: () => {
          steps.push("end");
          return Promise.resolve();
        },
      },
    });
    t.same(steps, ["unready", "deregister"]);
    acknowledge?.();
    await until(() => steps.length === 3);
    t.same(steps.slice(2), ["refuse inbound"], "GOAWAY only after it");
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(steps.length, 3, "a request is still under way");
    inbound = 0;
    clock.advance(20);
    await until(() => steps.length === 4);
    await pass(clock, 5000);
    t.same(steps.slice(3), ["look"], "outbound serves");
    gone = true;
    await pass(clock, 200);
    await over;
    t.same(steps.slice(4), ["refuse outbound", "end"]);
  },
);

/** Lets the clock go on in steps that leave every look its turns of the event loop. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(100);
    for (let turn = 0; turn < 5; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A shutdown that waits for its application alone. */
function waiting(applicationGone: () => Promise<boolean>): {
  readonly clock: FakeClock;
  readonly steps: string[];
  readonly hurry: AbortController;
  readonly over: Promise<void>;
} {
  const clock = fakeClock();
  const steps: string[] = [];
  const hurry = new AbortController();
  const over = shutDown({
    clock,
    logger: silentLogger,
    drainTimeout: 30_000,
    hurry: hurry.signal,
    steps: {
      unready: () => undefined,
      deregister: () => Promise.resolve(),
      refuseInbound: () => steps.push("refuse inbound"),
      applicationGone,
      refuseOutbound: () => steps.push("refuse outbound"),
      depart: () => steps.push("depart"),
      inboundActive: () => 0,
      outboundActive: () => 0,
      end: () => Promise.resolve(),
    },
  });
  return { clock, steps, hurry, over };
}

for (const [what, gone] of [
  ["an application that stays", () => Promise.resolve(false)],
  ["a worker that does not answer", () => new Promise<boolean>(() => {})],
] as const)
  void t.test(`${what} is served until the drain timeout`, async (t) => {
    const { clock, steps, over } = waiting(gone);
    await pass(clock, 28_900);
    t.same(steps, ["refuse inbound"]);
    await pass(clock, 100);
    await over;
    t.same(steps, ["refuse inbound", "refuse outbound"]);
    t.equal(clock.pending, 0);
  });

void t.test("who is in a hurry waits for no application", async (t) => {
  const { clock, steps, hurry, over } = waiting(() => Promise.resolve(false));
  await pass(clock, 1000);
  t.same(steps, ["refuse inbound"]);
  hurry.abort();
  await over;
  t.same(steps, ["refuse inbound", "refuse outbound"]);
  const before = waiting(() => Promise.resolve(false));
  before.hurry.abort();
  await before.over;
  t.equal(before.clock.now(), 0, "nor where that is known before");
});

void t.test(
  "neither a deaf control plane nor an endless request holds it up for ever",
  async (t) => {
    const clock = fakeClock();
    const steps: string[] = [];
    const over = shutDown({
      clock,
      logger: silentLogger,
      drainTimeout: 10_000,
      hurry: new AbortController().signal,
      steps: {
        unready: () => undefined,
        deregister: () => new Promise(() => undefined),
        refuseInbound: () => steps.push("refused"),
        applicationGone: () => Promise.resolve(false),
        refuseOutbound: () => undefined,
        depart: () => steps.push("depart"),
        inboundActive: () => 1,
        outboundActive: () => 0,
        end: () => Promise.resolve(),
      },
    });
    clock.advance(5000);
    await until(() => steps.length === 1);
    clock.advance(4000);
    await until(() => steps.length === 2);
    t.same(steps, ["refused", "depart"], "it hears of it before the end");
    clock.advance(1000);
    await over;
    t.ok(clock.now() <= 10_000);
  },
);

void t.test("an instance shuts down under load: no call fails", async (t) => {
  await withPair(
    {
      instances: 2,
      app: () => (request, response) => {
        // Long enough that some are under way at any moment.
        request.resume();
        setTimeout(() => response.end("ok"), 5);
      },
    },
    async (pair) => {
      let running = true;
      let calls = 0;
      const statuses = new Map<number, number>();
      const load = Array.from({ length: 8 }, async (_, worker) => {
        while (running) {
          const { status } = await pair.call({
            method: worker % 2 === 0 ? "GET" : "POST",
          });
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          calls += 1;
        }
      });
      await until(() => calls >= 50);
      // Nobody tells the caller: it learns of it by GOAWAY and refused connections only.
      await pair.callee.shutDown();
      const before = calls;
      await until(() => calls >= before + 100);
      running = false;
      await Promise.all(load);
      t.same([...statuses.keys()], [200], `${calls} calls`);
      t.same(
        pair.instances[0]?.agent?.calls.filter((call) => call !== "ready true"),
        ["deregister", "close"],
      );
    },
  );
});

void t.test(
  "credentials change under load: no call fails, and new connections use the new ones",
  async (t) => {
    await withPair({}, async (pair) => {
      let running = true;
      let calls = 0;
      const statuses = new Set<number>();
      const load = Array.from({ length: 4 }, async () => {
        while (running) {
          statuses.add((await pair.call({ method: "POST", body: "x" })).status);
          calls += 1;
        }
      });
      for (let change = 0; change < 5; change += 1) {
        const before = calls;
        await until(() => calls >= before + 20);
        pair.callerAgent.credentials.set(pair.authority.credentials("web"));
        pair.instances[0]?.agent?.credentials.set(
          pair.authority.credentials("orders"),
        );
      }
      running = false;
      await Promise.all(load);
      t.same([...statuses], [200], `${calls} calls`);
    });
  },
);

void t.test(
  "readiness follows the application: told when it comes, when it goes, and when it is back",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair({ callee: { clock } }, async (pair) => {
      const { callee } = pair;
      const [instance] = pair.instances;
      const calls = instance?.agent?.calls;
      const ready = async (): Promise<number> =>
        (
          await send(callee.ports.metrics ?? 0, {
            path: "/readyz?application",
            host: "127.0.0.1",
          })
        ).status;
      const told = (times: number): Promise<unknown> =>
        passing(
          clock,
          until(() => calls?.length === times),
        );
      await until(() => callee.readiness.workload);
      t.same(calls, ["ready true"]);
      t.equal(await ready(), 200);
      instance?.app.close();
      await told(2);
      t.same(calls, ["ready true", "ready false"]);
      t.equal(await ready(), 503);
      instance?.app.listen(instance.appPort, "127.0.0.1");
      await told(3);
      t.same(calls, ["ready true", "ready false", "ready true"]);
      t.equal(await ready(), 200);
    });
  },
);
