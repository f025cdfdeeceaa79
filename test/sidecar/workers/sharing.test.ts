/** Several workers carry the traffic of one sidecar: each its part, with limits and config that hold for all of them. */
import t from "tap";
import type { WorkerView } from "../../../src/sidecar/workers/views.ts";
import type { Sidecar } from "../../../src/sidecar/sidecar.ts";
import { HeldResponses } from "../../support/peers/held-responses.ts";
import { resource, send } from "../../support/meshes/pair.ts";
import { withCrowd, type Caller } from "../../support/meshes/workers.ts";

/** Enough that chance gives neither worker less than 35 % of them: five standard deviations. */
const CONNECTIONS = 240;
/** Of each. */
const CALLS = 15;

async function workersOf(sidecar: Sidecar): Promise<readonly WorkerView[]> {
  const { text } = await send(sidecar.ports.admin ?? 0, {
    path: "/workers",
    host: "127.0.0.1",
  });
  return JSON.parse(text) as readonly WorkerView[];
}

function shares(parts: readonly number[]): readonly number[] {
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}

void t.test(
  "each of two workers carries 35 to 65 % on either side, and each outbound worker has a link to each inbound one",
  async (t) => {
    await withCrowd(
      { app: (_request, response) => response.end("ok") },
      async (crowd) => {
        const connections = Array.from({ length: CONNECTIONS }, () =>
          crowd.connection(),
        );
        // Each by itself, over many of the turns in which a worker keeps to one of its peer's: in step they would all fall into a few.
        await Promise.all(
          connections.map(async (each) => {
            for (let call = 0; call < CALLS; call += 1) {
              const { status } = await each.get();
              if (status !== 200) t.fail(`status ${status}`);
            }
          }),
        );
        const caller = await workersOf(crowd.caller);
        const callee = await workersOf(crowd.callee);
        for (const share of [
          ...shares(caller.map(({ requests }) => requests.outbound)),
          ...shares(callee.map(({ requests }) => requests.inbound)),
        ])
          t.ok(share >= 0.35 && share <= 0.65, `a share of ${share}`);
        t.same(
          caller.map(({ connections: open }) => open["upstream"]),
          [2, 2],
        );
        t.same(
          callee.map(({ connections: open }) => open["link"]),
          [2, 2],
        );
        t.equal(
          await crowd.metric(
            crowd.caller,
            "wherry_requests_total",
            'direction="outbound"',
          ),
          CONNECTIONS * CALLS,
          "the metrics of the process are the sum",
        );
        t.equal(
          await crowd.metric(
            crowd.caller,
            "wherry_request_duration_seconds_count",
          ),
          CONNECTIONS * CALLS,
        );
      },
    );
  },
);

void t.test(
  "one worker calls both workers of its peer, and two call one that has no more",
  async (t) => {
    for (const [caller, callee] of [
      [1, 2],
      [2, 1],
    ] as const)
      await withCrowd(
        {
          app: (_request, response) => response.end("ok"),
          caller: { concurrency: caller },
          callee: { concurrency: callee },
        },
        async (crowd) => {
          const connections = Array.from({ length: 64 }, () =>
            crowd.connection(),
          );
          for (let round = 0; round < 20; round += 1)
            for (const { status } of await Promise.all(
              connections.map((each) => each.get()),
            ))
              if (status !== 200) t.fail(`status ${status}`);
          const served = await workersOf(crowd.callee);
          t.equal(served.length, callee);
          for (const share of shares(
            served.map(({ requests }) => requests.inbound),
          ))
            t.ok(callee === 1 || (share >= 0.35 && share <= 0.65), `${share}`);
        },
      );
  },
);

void t.test(
  "a cap of 100 holds at exactly 100 over both workers",
  async (t) => {
    const held = new HeldResponses();
    let most = 0;
    await withCrowd(
      {
        appProtocol: "http",
        app: (_request, response) => {
          held.keep(() => response.end("ok"));
          most = Math.max(most, held.count);
        },
        resources: [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            connectionPool: {
              tcp: { maxConnections: 1000 },
              http: { http2MaxRequests: 100 },
            },
          }),
        ],
      },
      async (crowd) => {
        const calls = Array.from({ length: 220 }, () =>
          crowd.connection().get(),
        );
        let refused = 0;
        const counted = calls.map(async (call) => {
          const { status, text } = await call;
          if (status === 503 && text.startsWith("OVERFLOW")) refused += 1;
          held.changed();
          return status;
        });
        await held.until(() => held.count + refused === 220);
        t.equal(held.count, 100);
        t.equal(refused, 120);
        const both = (await workersOf(crowd.caller)).map(
          ({ connections }) => connections["outbound"] ?? 0,
        );
        t.ok(both.every((count) => count > 0));
        held.release();
        await Promise.all(counted);
        // All of it was given back: another hundred comes in, and no more.
        const again = Array.from({ length: 100 }, () =>
          crowd.connection().get(),
        );
        await held.until(() => held.count === 100);
        t.equal((await crowd.connection().get()).status, 503);
        held.release();
        for (const { status } of await Promise.all(again)) t.equal(status, 200);
      },
    );
    t.equal(most, 100);
  },
);

void t.test(
  "who waits in one worker is let in when another makes room",
  async (t) => {
    const held = new HeldResponses();
    await withCrowd(
      {
        app: (_request, response) => held.keep(() => response.end("ok")),
        resources: [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            connectionPool: {
              tcp: { maxConnections: 1 },
              http: { http1MaxPendingRequests: 100 },
            },
          }),
        ],
      },
      async (crowd) => {
        const calls = Array.from({ length: 40 }, () =>
          crowd.connection().get(),
        );
        for (let served = 0; served < 40; served += 1) {
          await held.until(() => held.count > 0);
          t.equal(held.count, 1, "one at a time");
          held.release();
        }
        for (const { status } of await Promise.all(calls)) t.equal(status, 200);
      },
    );
  },
);

/** Of these connections, one that each worker has, found by the worker's own count. */
async function oneOfEach(
  sidecar: Sidecar,
  make: () => Caller,
): Promise<readonly [Caller, Caller]> {
  const found: (Caller | undefined)[] = [undefined, undefined];
  while (found.includes(undefined)) {
    const made = make();
    const before = await workersOf(sidecar);
    await made.get();
    const after = await workersOf(sidecar);
    const index = after.findIndex(
      ({ requests }, at) =>
        requests.outbound > (before[at]?.requests.outbound ?? 0),
    );
    if (found[index] === undefined) found[index] = made;
    else made.close();
  }
  const [first, second] = found;
  if (first === undefined || second === undefined)
    throw new Error("unreachable");
  return [first, second];
}

void t.test(
  "a config is in force in all workers once it is acknowledged, and refused in all or in none",
  async (t) => {
    await withCrowd(
      { app: (_request, response) => response.end("ok") },
      async (crowd) => {
        const [one, two] = await oneOfEach(crowd.caller, () =>
          crowd.connection(),
        );
        const deny = resource("AuthorizationPolicy", "no", {
          action: "DENY",
          rules: [{}],
        });
        for (let round = 0; round < 5; round += 1) {
          t.same(await crowd.apply([deny]), [undefined, undefined]);
          for (const caller of [one, two, one, two])
            t.equal((await caller.get()).status, 403);
          t.same(await crowd.apply([]), [undefined, undefined]);
          for (const caller of [one, two, one, two])
            t.equal((await caller.get()).status, 200);
        }
      },
    );
  },
);
