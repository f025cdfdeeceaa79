/** Hedging at a real sidecar: the quicker of two answers, the other broken off, only where twice does no harm, and within the budget. */
import type { ServerResponse } from "node:http";
import t from "tap";
import { fakeClock, passing } from "../../../support/clocks/fake-clock.ts";
import { failConnects } from "../../../support/faults/connect-faults.ts";
import {
  resource,
  until,
  withPair,
  type Answer,
  type CallOptions,
  type Pair,
  type PairOptions,
} from "../../../support/meshes/pair.ts";

interface Shop {
  /** What waits at the slow instance. */
  readonly held: ServerResponse[];
  slow: boolean;
  /** Status of the quick instance. */
  status: number;
  readonly options: PairOptions;
}

function shop(hedging: object, more: object = {}): Shop {
  const made: Shop = {
    held: [],
    slow: false,
    status: 200,
    options: {
      instances: 2,
      app: (index) => (request, response) => {
        if (index === 0 && made.slow) {
          made.held.push(response);
          return;
        }
        request.resume();
        request.on("end", () => {
          response.statusCode = made.slow ? made.status : 200;
          response.end(`from ${index}`);
        });
      },
      resources: [
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          loadBalancer: { simple: "ROUND_ROBIN" },
          hedging,
          ...more,
        }),
      ],
    },
  };
  return made;
}

/** Enough answers to know what is slow. */
async function learn(pair: Pair, shop: Shop): Promise<void> {
  for (let index = 0; index < 128; index += 1) await pair.call();
  shop.slow = true;
}

interface Held {
  readonly call: Promise<Answer>;
  /** At the slow instance. */
  readonly response: ServerResponse;
}

/** Calls until one is held at the slow instance. The clock stands: no second endpoint is asked before the test says so. */
async function hold(
  pair: Pair,
  shop: Shop,
  options?: CallOptions,
): Promise<Held> {
  for (;;) {
    const call = pair.call(options);
    let over = false;
    void call.finally(() => (over = true)).catch(() => undefined);
    await until(() => over || shop.held.length > 0);
    const response = shop.held.shift();
    if (response !== undefined) return { call, response };
    await call;
  }
}

const hedges = (pair: Pair, result: string): Promise<number> =>
  pair.metric(pair.caller, "wherry_hedges_total", `result="${result}"`);

void t.test(
  "a GET that is slow is asked elsewhere, the answer comes from there, and the slow one is broken off",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const made = shop({ minimumDelay: "20ms" });
    await withPair({ ...made.options, clock }, async (pair) => {
      await learn(pair, made);
      const { call, response } = await hold(pair, made);
      clock.advance(19);
      t.equal(await hedges(pair, "made"), 0, "not before its time");
      clock.advance(1);
      t.equal((await call).text, "from 1");
      await until(() => response.destroyed);
      t.ok(response.destroyed, "the application sees that nobody waits");
      t.equal(await hedges(pair, "made"), 1);
      t.equal(await hedges(pair, "won"), 1);
      const last = pair.log.findLast(
        ({ direction }) => direction === "outbound",
      );
      t.equal(
        last?.endpoint,
        `127.0.0.1:${pair.instances[1]?.sidecar?.ports.link ?? 0}`,
        "the log names who answered",
      );
      t.equal(
        await pair.metric(pair.caller, "wherry_ejections_total{"),
        0,
        "being slower is no failure",
      );
    });
  },
);

void t.test(
  "never: a POST, a request with a body, one that does not match, one before enough is known",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const made = shop({
      minimumDelay: "5ms",
      matches: [{ path: { type: "PathPrefix", value: "/fast" } }],
    });
    await withPair({ ...made.options, clock }, async (pair) => {
      const late = async (options: CallOptions): Promise<void> => {
        const { call, response } = await hold(pair, made, options);
        // Many times as long as a hedge would wait.
        clock.advance(100);
        response.end("late");
        t.equal((await call).text, "late", JSON.stringify(options));
        t.equal(await hedges(pair, "made"), 0);
      };
      made.slow = true;
      await late({ path: "/fast" });
      made.slow = false;
      for (let index = 0; index < 140; index += 1)
        await pair.call({ path: "/fast" });
      made.slow = true;
      await late({ method: "POST", path: "/fast" });
      await late({ method: "PUT", path: "/fast", body: "x" });
      await late({ path: "/other" });
      const { call } = await hold(pair, made, { path: "/fast" });
      clock.advance(100);
      t.equal((await call).text, "from 1", "what does match, now");
    });
  },
);

void t.test(
  "a failure of the second is no answer while the first may have a better one",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const made = shop({ minimumDelay: "20ms" });
    await withPair({ ...made.options, clock }, async (pair) => {
      await learn(pair, made);
      const { call, response } = await hold(pair, made);
      made.status = 500;
      clock.advance(20);
      await until(() =>
        pair.log.some(
          ({ direction, status }) => direction === "inbound" && status === 500,
        ),
      );
      // Many turns, in which the failure comes to the caller's sidecar.
      t.equal(await hedges(pair, "made"), 1);
      response.end("from the slow one");
      const answer = await call;
      t.match(answer, { status: 200, text: "from the slow one" });
      t.equal(await hedges(pair, "won"), 0);
    });
  },
);

void t.test(
  "a second that this machine cannot connect is no word of its endpoint",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const made = shop(
      { minimumDelay: "20ms" },
      {
        connectionPool: { http: { maxRequestsPerConnection: 1 } },
        outlierDetection: { consecutiveLocalOriginFailures: 1 },
      },
    );
    await withPair({ ...made.options, clock }, async (pair) => {
      await learn(pair, made);
      const other = pair.instances[1]?.sidecar?.ports.link ?? 0;
      for (const [code, ejections] of [
        ["EMFILE", 0],
        ["ECONNREFUSED", 1],
      ] as const) {
        const { call, response } = await hold(pair, made);
        const faults = failConnects(other, code);
        clock.advance(20);
        await until(() => faults.failed === 1);
        faults.release();
        response.end("late");
        t.equal((await call).text, "late", code);
        const seen = await pair.metric(pair.caller, "wherry_ejections_total{");
        // An endpoint that is out gets no second request.
        if (!t.equal(seen, ejections, code)) return;
      }
    });
  },
);

void t.test(
  "the budget of retries pays for it: without one nothing is doubled",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const made = shop(
      { minimumDelay: "5ms" },
      {
        retryConstraint: {
          budget: { percent: 0 },
          minRetryRate: { count: 0, interval: "1s" },
        },
      },
    );
    await withPair({ ...made.options, clock }, async (pair) => {
      await learn(pair, made);
      const { call, response } = await hold(pair, made);
      clock.advance(100);
      response.end("late");
      t.equal((await call).text, "late");
      t.equal(await hedges(pair, "made"), 0);
    });
  },
);

void t.test("one extra and no more, however long both take", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const held: ServerResponse[] = [];
  let slow = false;
  await withPair(
    {
      clock,
      instances: 3,
      app: () => (_request, response) => {
        if (slow) held.push(response);
        else response.end("ok");
      },
      resources: shop({ minimumDelay: "10ms" }).options.resources ?? [],
    },
    async (pair) => {
      for (let index = 0; index < 128; index += 1) await pair.call();
      slow = true;
      const call = pair.call();
      await until(() => held.length === 1);
      clock.advance(10);
      await until(() => held.length === 2);
      // Many times as long as the first extra one waited.
      clock.advance(300);
      t.equal(await hedges(pair, "made"), 1);
      t.equal(held.length, 2, "there was a third that could have been asked");
      for (const response of held) response.end("late");
      t.equal((await call).status, 200);
    },
  );
});

void t.test(
  "what retries have spent of the budget is not there for a hedge",
  async (t) => {
    const made = shop(
      { minimumDelay: "5ms" },
      {
        // Two in all.
        retryConstraint: {
          budget: { percent: 0 },
          minRetryRate: { count: 2, interval: "1h" },
        },
        outlierDetection: { consecutive5xxErrors: 0 },
      },
    );
    const answer = made.options.app;
    const clock = fakeClock({ wall: Date.now() });
    let failing = 0;
    await withPair(
      {
        ...made.options,
        clock,
        app: (index) => (request, response) => {
          if (failing === 0) {
            answer?.(index)(request, response);
            return;
          }
          failing -= 1;
          response.statusCode = 503;
          response.end();
        },
        resources: [
          ...(made.options.resources ?? []),
          resource("HTTPRoute", "orders", {
            parentRefs: [{ kind: "Service", name: "orders" }],
            rules: [
              {
                backendRefs: [{ name: "orders", port: 80 }],
                retry: { codes: [503], attempts: 1 },
              },
            ],
          }),
        ],
      },
      async (pair) => {
        const failOnce = async (): Promise<number> => {
          failing = 1;
          return (await passing(clock, pair.call())).value.status;
        };
        const slowly = async (): Promise<number> => {
          const before = await hedges(pair, "made");
          const { call, response } = await hold(pair, made);
          clock.advance(100);
          const doubled = (await hedges(pair, "made")) - before;
          response.end("late");
          await call;
          return doubled;
        };
        for (let index = 0; index < 128; index += 1) await pair.call();
        t.equal(await failOnce(), 200, "by a retry");
        made.slow = true;
        t.equal(await slowly(), 1, "the second of two");
        t.equal(await slowly(), 0, "there is no third");
        made.slow = false;
        t.equal(await failOnce(), 503, "nor one for a retry");
      },
    );
  },
);

void t.test("a caller that goes away takes both with it", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const both: ServerResponse[] = [];
  let slow = false;
  await withPair(
    {
      clock,
      instances: 2,
      app: () => (_request, response) => {
        if (slow) both.push(response);
        else response.end("ok");
      },
      resources: shop({ minimumDelay: "10ms" }).options.resources ?? [],
    },
    async (pair) => {
      for (let index = 0; index < 128; index += 1) await pair.call();
      slow = true;
      const { connect } = await import("node:net");
      const socket = connect({
        host: "127.0.0.1",
        port: pair.caller.ports.outbound ?? 0,
      });
      socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
      await until(() => both.length === 1);
      clock.advance(10);
      await until(() => both.length === 2);
      socket.resetAndDestroy();
      await until(() => both.every(({ destroyed }) => destroyed));
      t.ok(both.every(({ destroyed }) => destroyed));
      slow = false;
      t.equal((await pair.call()).status, 200);
    },
  );
});
