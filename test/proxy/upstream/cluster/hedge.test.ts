/** Hedging at a real sidecar: the quicker of two answers, the other broken off, only where twice does no harm, and within the budget. */
import type { IncomingMessage, ServerResponse } from "node:http";
import t from "tap";
import {
  resource,
  until,
  withPair,
  type Pair,
  type PairOptions,
} from "../../../support/pair.ts";

interface Shop {
  /** What waits at the slow instance. */
  readonly held: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
  }[];
  /** By instance. */
  readonly seen: number[];
  slow: boolean;
  /** Status of the quick instance. */
  status: number;
  readonly options: PairOptions;
}

function shop(hedging: object, more: object = {}): Shop {
  const made: Shop = {
    held: [],
    seen: [0, 0],
    slow: false,
    status: 200,
    options: {
      instances: 2,
      app: (index) => (request, response) => {
        made.seen[index] = (made.seen[index] ?? 0) + 1;
        if (index === 0 && made.slow) {
          made.held.push({ request, response });
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

/** Calls until one was held at the slow instance. */
async function untilHeld(
  pair: Pair,
  shop: Shop,
  options?: Parameters<Pair["call"]>[0],
): Promise<ReturnType<Pair["call"]>> {
  for (;;) {
    const call = pair.call(options);
    let over = false;
    void call.finally(() => (over = true)).catch(() => undefined);
    await until(() => over || shop.held.length > 0);
    if (shop.held.length > 0) return Promise.resolve(call);
    await call;
  }
}

const hedges = (pair: Pair, result: string): Promise<number> =>
  pair.metric(pair.caller, "wherry_hedges_total", `result="${result}"`);

void t.test(
  "a GET that is slow is asked elsewhere, the answer comes from there, and the slow one is broken off",
  async (t) => {
    const made = shop({ minimumDelay: "20ms" });
    await withPair(made.options, async (pair) => {
      await learn(pair, made);
      t.equal(await hedges(pair, "won"), 0);
      const answer = await untilHeld(pair, made);
      t.equal(answer.text, "from 1");
      const [first] = made.held;
      await until(() => first?.response.destroyed === true);
      t.ok(first?.response.destroyed, "the application sees that nobody waits");
      t.ok((await hedges(pair, "made")) >= 1);
      t.ok((await hedges(pair, "won")) >= 1);
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
    const made = shop({
      minimumDelay: "5ms",
      matches: [{ path: { type: "PathPrefix", value: "/fast" } }],
    });
    await withPair(made.options, async (pair) => {
      made.slow = true;
      const early = untilHeld(pair, made, { path: "/fast" });
      await until(() => made.held.length === 1);
      for (const { response } of made.held.splice(0)) response.end("late");
      await early;
      made.slow = false;
      for (let index = 0; index < 140; index += 1)
        await pair.call({ path: "/fast" });
      const before = await hedges(pair, "made");
      made.slow = true;
      for (const options of [
        { method: "POST", path: "/fast" },
        { method: "PUT", path: "/fast", body: "x" },
        { path: "/other" },
      ]) {
        const calls = [pair.call(options), pair.call(options)];
        await until(() => made.held.length === 1);
        // Several times as long as a hedge would wait.
        setTimeout(() => {
          for (const { response } of made.held.splice(0)) response.end("late");
        }, 60);
        const texts = (await Promise.all(calls)).map(({ text }) => text);
        t.ok(texts.includes("late"), JSON.stringify(options));
      }
      t.equal(await hedges(pair, "made"), before);
    });
  },
);

void t.test(
  "a failure of the second is no answer while the first may have a better one",
  async (t) => {
    const made = shop({ minimumDelay: "20ms" });
    await withPair(made.options, async (pair) => {
      await learn(pair, made);
      made.status = 500;
      const waiting = (async (): Promise<Awaited<ReturnType<Pair["call"]>>> => {
        for (;;) {
          const answer = await pair.call();
          if (answer.text === "from the slow one") return answer;
        }
      })();
      await until(() => made.held.length > 0);
      while ((await hedges(pair, "made")) === 0);
      setTimeout(() => {
        for (const { response } of made.held.splice(0))
          response.end("from the slow one");
      }, 100);
      t.equal((await waiting).status, 200);
      t.ok((await hedges(pair, "made")) >= 1);
    });
  },
);

void t.test(
  "the budget of retries pays for it: without one nothing is doubled",
  async (t) => {
    const made = shop(
      { minimumDelay: "5ms" },
      {
        retryConstraint: {
          budget: { percent: 0 },
          minRetryRate: { count: 0, interval: "1s" },
        },
      },
    );
    await withPair(made.options, async (pair) => {
      await learn(pair, made);
      const calls = [pair.call(), pair.call()];
      await until(() => made.held.length === 1);
      setTimeout(() => {
        for (const { response } of made.held.splice(0)) response.end("late");
      }, 60);
      const texts = (await Promise.all(calls)).map(({ text }) => text);
      t.ok(texts.includes("late"));
      t.equal(await hedges(pair, "made"), 0);
    });
  },
);

void t.test("one extra and no more, however long both take", async (t) => {
  const held: ServerResponse[] = [];
  let slow = false;
  await withPair(
    {
      instances: 3,
      app: () => (_request, response) => {
        if (slow) held.push(response);
        else response.end("ok");
      },
      resources: shop({ minimumDelay: "10ms" }).options.resources ?? [],
    },
    async (pair) => {
      for (let index = 0; index < 128; index += 1) await pair.call();
      const before = await hedges(pair, "made");
      slow = true;
      const call = pair.call();
      await until(() => held.length === 2);
      // Many times as long as the first extra one waited.
      const since = performance.now();
      await until(() => performance.now() - since > 300);
      t.equal(held.length, 2, "there was a third who could have been asked");
      t.equal(await hedges(pair, "made"), before + 1);
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
    let failing = 0;
    await withPair(
      {
        ...made.options,
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
        const spend = async (): Promise<void> => {
          failing = 1;
          t.equal((await pair.call()).status, 200, "by a retry");
        };
        const slowly = async (): Promise<number> => {
          const before = await hedges(pair, "made");
          const calls = [pair.call(), pair.call()];
          await until(() => made.held.length === 1);
          const [call] = made.held.splice(0);
          const since = performance.now();
          await until(
            () =>
              call?.response.destroyed === true ||
              performance.now() - since > 100,
          );
          call?.response.end("late");
          await Promise.all(calls);
          return (await hedges(pair, "made")) - before;
        };
        for (let index = 0; index < 128; index += 1) await pair.call();
        await spend();
        made.slow = true;
        t.equal(await slowly(), 1, "the second of two");
        t.equal(await slowly(), 0, "there is no third");
        made.slow = false;
        failing = 1;
        t.equal((await pair.call()).status, 503, "nor one for a retry");
      },
    );
  },
);

void t.test("a caller that goes away takes both with it", async (t) => {
  const both: ServerResponse[] = [];
  let slow = false;
  await withPair(
    {
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
      await until(() => both.length === 2);
      socket.resetAndDestroy();
      await until(() => both.every(({ destroyed }) => destroyed));
      t.ok(both.every(({ destroyed }) => destroyed));
      slow = false;
      t.equal((await pair.call()).status, 200);
    },
  );
});
