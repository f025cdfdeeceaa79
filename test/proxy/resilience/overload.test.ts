/** Adaptive concurrency and priorities at real sidecars: who is turned away, where he is told, and what he then does. */
import type { ServerResponse } from "node:http";
import t from "tap";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Answer,
  type Pair,
} from "../../support/meshes/pair.ts";

function policy(spec: Record<string, unknown>): ReturnType<typeof resource> {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    loadBalancer: { simple: "ROUND_ROBIN" },
    ...spec,
  });
}

const one = (mode: string): Record<string, unknown> => ({
  adaptiveConcurrency: { mode, minConcurrency: 1, maxConcurrency: 1 },
});

/** An application that answers when it is told to. */
function holding(): {
  readonly held: ServerResponse[];
  readonly app: () => (request: unknown, response: ServerResponse) => void;
  readonly release: () => void;
} {
  const held: ServerResponse[] = [];
  return {
    held,
    app: () => (_request, response) => held.push(response),
    release: () => {
      for (const response of held.splice(0)) response.end("ok");
    },
  };
}

async function overload(pair: Pair): Promise<{
  readonly ports: readonly Record<string, number>[];
}> {
  const { text } = await send(pair.callee.ports.admin ?? 0, {
    path: "/overload",
    host: "127.0.0.1",
  });
  return JSON.parse(text) as { ports: Record<string, number>[] };
}

/** Until nobody is counted there any more. */
async function quiet(pair: Pair, count: "inFlight" | "waiting"): Promise<void> {
  while ((await overload(pair)).ports[0]?.[count] !== 0);
}

void t.test(
  "enforced: one in, four wait, the rest is told SHED at once; nothing is held against the instance",
  async (t) => {
    const { held, app, release } = holding();
    await withPair(
      { app, resources: [policy(one("ENFORCE"))] },
      async (pair) => {
        const refused: Answer[] = [];
        const calls = Array.from({ length: 8 }, async () => {
          const answer = await pair.call();
          if (answer.status !== 200) refused.push(answer);
          return answer.status;
        });
        // Those in line go when they have waited for too long: the one that is in has its place for as long as it takes.
        await until(() => refused.length === 7);
        t.equal(held.length, 1);
        for (const { status, reason, headers } of refused) {
          t.equal(status, 503);
          t.equal(reason, "SHED; policy=shop/orders");
          t.equal(headers["retry-after"], undefined);
        }
        release();
        const statuses = await Promise.all(calls);
        t.equal(statuses.filter((status) => status === 200).length, 1);
        t.match(await overload(pair), {
          ports: [{ limit: 1, inFlight: 0, waiting: 0, refused: 7 }],
        });
        t.equal(
          await pair.metric(pair.callee, "wherry_shed_total", 'mode="enforce"'),
          7,
        );
        t.equal(await pair.metric(pair.caller, "wherry_ejections_total{"), 0);
      },
    );
  },
);

void t.test("a place that becomes free is given to who waits", async (t) => {
  const { held, app, release } = holding();
  // However long it takes to get there, nobody has waited for too long.
  const clock = fakeClock({ wall: Date.now() });
  const resources = [policy(one("ENFORCE"))];
  await withPair({ app, resources, clock }, async (pair) => {
    const calls = [pair.call(), pair.call()];
    for (let turn = 0; turn < 2; turn += 1) {
      await until(() => {
        clock.advance(0);
        return held.length === 1;
      });
      release();
    }
    for (const answer of await Promise.all(calls)) t.equal(answer.status, 200);
  });
});

void t.test(
  "in shadow, which is the default, no answer changes and the count says what would have been",
  async (t) => {
    for (const resources of [[policy(one("SHADOW"))], []]) {
      const { held, app, release } = holding();
      await withPair({ app, resources }, async (pair) => {
        const calls = Array.from({ length: 12 }, () => pair.call());
        await until(() => held.length === 12);
        release();
        for (const answer of await Promise.all(calls))
          t.equal(answer.status, 200);
        const expected =
          resources.length === 0
            ? { limit: 20, wouldRefuse: 0 }
            : { limit: 1, wouldRefuse: 12 - 1 - 4 };
        t.match(await overload(pair), {
          ports: [{ inFlight: 0, refused: 0, ...expected }],
        });
        t.equal(
          await pair.metric(pair.callee, "wherry_shed_total", 'mode="shadow"'),
          expected.wouldRefuse,
        );
      });
    }
  },
);

void t.test("off: there is no gate", async (t) => {
  await withPair({ resources: [policy(one("OFF"))] }, async (pair) => {
    t.equal((await pair.call()).status, 200);
    t.strictSame(await overload(pair), { ports: [] });
  });
});

void t.test(
  "what one instance turns away goes to another, within the budget",
  async (t) => {
    const busy: ServerResponse[] = [];
    await withPair(
      {
        instances: 2,
        app: (index) => (_request, response) => {
          if (index === 0) busy.push(response);
          else response.end("from the other");
        },
        resources: [policy(one("ENFORCE"))],
      },
      async (pair) => {
        const shed = (): Promise<number> =>
          pair.metric(pair.caller, "wherry_retries_total", '"shed"');
        // One takes the first instance's only place, the other is answered: a repeated request would not wait for a place there.
        const calls = [0, 1].map(() => pair.call({ method: "POST" }));
        t.equal((await Promise.race(calls)).text, "from the other");
        await until(() => busy.length === 1);
        t.equal(await shed(), 0);
        for (let index = 0; index < 4; index += 1) {
          const answer = await pair.call({ method: "POST", body: "pay" });
          t.equal(answer.status, 200, answer.text);
          t.equal(answer.text, "from the other");
        }
        t.equal(await shed(), 2, "every other one came to the first");
        for (const response of busy.splice(0)) response.end("late");
        await Promise.all(calls);
      },
    );
  },
);

void t.test(
  "a caller that goes away while it waits is forgotten, and so is one whose time is over",
  async (t) => {
    const { held, app, release } = holding();
    await withPair(
      {
        app,
        resources: [
          policy(one("ENFORCE")),
          resource("HTTPRoute", "orders", {
            parentRefs: [{ kind: "Service", name: "orders" }],
            rules: [
              {
                matches: [{ path: { type: "Exact", value: "/hasty" } }],
                backendRefs: [{ name: "orders", port: 80 }],
                timeouts: { request: "40ms" },
              },
              { backendRefs: [{ name: "orders", port: 80 }] },
            ],
          }),
        ],
      },
      async (pair) => {
        const first = pair.call();
        await until(() => held.length === 1);
        const hasty = await pair.call({ path: "/hasty" });
        t.equal(hasty.reason, "REQUEST_TIMEOUT");
        await quiet(pair, "waiting");
        release();
        t.equal((await first).status, 200);
        t.match(await overload(pair), { ports: [{ inFlight: 0, waiting: 0 }] });
        t.equal(held.length, 0, "the application has not seen it");
      },
    );
  },
);

void t.test("an event stream takes no place once it has begun", async (t) => {
  const streams: ServerResponse[] = [];
  await withPair(
    {
      app: () => (request, response) => {
        if (request.url !== "/events") {
          response.end("ok");
          return;
        }
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write("data: 1\n\n");
        streams.push(response);
      },
      resources: [policy(one("ENFORCE"))],
    },
    async (pair) => {
      const events = pair.call({ path: "/events" });
      await until(() => streams.length === 1);
      await quiet(pair, "inFlight");
      t.equal((await pair.call()).status, 200);
      for (const stream of streams) stream.end();
      t.equal((await events).status, 200);
      t.match(await overload(pair), { ports: [{ inFlight: 0 }] });
    },
  );
});

void t.test(
  "the threshold is told to callers inside, which then do not send what would be refused",
  async (t) => {
    const { held, app, release } = holding();
    await withPair(
      {
        app,
        resources: [
          policy({
            ...one("ENFORCE"),
            priority: {
              default: 5,
              rules: [
                {
                  level: 0,
                  matches: [{ path: { type: "Exact", value: "/pay" } }],
                },
              ],
            },
          }),
        ],
      },
      async (pair) => {
        const first = pair.call({ path: "/pay" });
        await until(() => held.length === 1);
        // Until a window is over, by its requests or its time: they are too many for the one place.
        const refused: (string | undefined)[] = [];
        let { ports } = await overload(pair);
        while ((ports[0]?.["lowestPriorityLetIn"] ?? 1000) >= 767) {
          for (const answer of await Promise.all(
            Array.from({ length: 50 }, () => pair.call()),
          ))
            refused.push(answer.reason);
          ({ ports } = await overload(pair));
        }
        t.ok(refused.every((reason) => reason?.startsWith("SHED")));
        // Whoever is refused once hears of it.
        await pair.call();
        const before = (await overload(pair)).ports[0]?.["refused"] ?? 0;
        const answer = await pair.call();
        t.equal(answer.reason?.startsWith("SHED"), true);
        const after = (await overload(pair)).ports[0]?.["refused"] ?? 0;
        t.equal(after, before, "it did not come there");
        release();
        t.equal((await first).status, 200);
        t.equal(
          answer.headers["x-wherry-admission"],
          undefined,
          "applications are told reasons only",
        );
      },
    );
  },
);
