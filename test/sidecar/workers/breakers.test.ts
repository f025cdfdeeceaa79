/** Each worker has a breaker and a gate of its own, and the pages show what all of them did. */
import t from "tap";
import type {
  ClustersView,
  OverloadView,
  WorkerView,
} from "../../../src/sidecar/workers/views.ts";
import type { Sidecar } from "../../../src/sidecar/sidecar.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource, send, until } from "../../support/meshes/pair.ts";
import {
  withCrowd,
  type Caller,
  type Crowd,
} from "../../support/meshes/workers.ts";

async function page<T>(sidecar: Sidecar, path: string): Promise<T> {
  const { text } = await send(sidecar.ports.admin ?? 0, {
    path,
    host: "127.0.0.1",
  });
  return JSON.parse(text) as T;
}

/** A connection in each of the caller's two workers: the kernel chooses, and the worker that counts its call has it. */
async function inEach(crowd: Crowd): Promise<readonly [Caller, Caller]> {
  const found: (Caller | undefined)[] = [undefined, undefined];
  const counts = async (): Promise<readonly number[]> =>
    (await page<readonly WorkerView[]>(crowd.caller, "/workers")).map(
      ({ requests }) => requests.outbound,
    );
  let before = await counts();
  for (;;) {
    const [first, second] = found;
    if (first !== undefined && second !== undefined) return [first, second];
    const made = crowd.connection();
    await made.get();
    const after = await counts();
    const worker = after.findIndex((count, at) => count > (before[at] ?? 0));
    before = after;
    if (found[worker] === undefined) found[worker] = made;
    else made.close();
  }
}

/** The breaker alone takes endpoints out of service. */
function policy(more: object): Resource {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    outlierDetection: {
      consecutive5xxErrors: 0,
      successRate: { thresholdPercent: 0 },
    },
    ...more,
  });
}

for (const place of [0, 1] as const)
  void t.test(
    `a breaker that worker ${place} opened is shown, with its evidence, and the other worker goes on`,
    async (t) => {
      await withCrowd(
        {
          app: (request, response) => {
            response.statusCode = request.url === "/fail" ? 500 : 200;
            response.end();
          },
          resources: [
            policy({
              circuitBreaker: {
                errorThresholdPercent: 50,
                volumeThreshold: 20,
                window: "60s",
                resetTimeout: "60s",
              },
            }),
          ],
        },
        async (crowd) => {
          const callers = await inEach(crowd);
          const failing = callers[place];
          const other = callers[1 - place];
          if (other === undefined) throw new Error("unreachable");
          let refused = "";
          for (let call = 0; call < 60 && refused === ""; call += 1) {
            const { status, text } = await failing.get("/fail");
            if (status === 503) refused = text;
          }
          t.match(refused, /BREAKER_OPEN/);
          t.equal((await other.get()).status, 200, "the other's is closed");

          const { clusters } = await page<ClustersView>(
            crowd.caller,
            "/clusters",
          );
          const [cluster] = clusters;
          t.match(cluster?.breaks, [
            { reason: "error-rate", evidence: /^\d+ of \d+ calls failed$/ },
          ]);
          t.equal(cluster?.breaker.state, "open");
          const states = cluster?.breaker.workers?.map(({ state }) => state);
          t.strictSame(
            states,
            place === 0 ? ["open", "closed"] : ["closed", "open"],
          );
          t.equal(await crowd.metric(crowd.caller, "wherry_breaker_state"), 2);
          t.equal(
            await crowd.metric(crowd.caller, "wherry_breaker_opened_total"),
            1,
          );
        },
      );
    },
  );

void t.test(
  "the page of overload adds up what the gates of all workers let in",
  async (t) => {
    const held: (() => void)[] = [];
    await withCrowd(
      {
        app: (_request, response) => held.push(() => response.end("late")),
        resources: [
          policy({
            connectionPool: {
              tcp: { maxConnections: 1000 },
              http: { http2MaxRequests: 1000 },
            },
          }),
        ],
      },
      async (crowd) => {
        const calls: ReturnType<Caller["get"]>[] = [];
        let limiter: OverloadView["ports"][number] | undefined;
        // The caller keeps to one worker of its peer's for some milliseconds: some calls at a time, until both have had a turn.
        const shared = (): boolean =>
          limiter?.workers?.filter(({ inFlight }) => inFlight > 0).length === 2;
        while (!shared() && calls.length < 1000) {
          for (let call = 0; call < 10; call += 1)
            calls.push(crowd.connection().get());
          await until(() => held.length === calls.length);
          const { ports } = await page<OverloadView>(crowd.callee, "/overload");
          [limiter] = ports;
          t.equal(ports.length, 1);
          t.equal(limiter?.inFlight, calls.length);
        }
        t.ok(shared(), "each worker has some");
        t.equal(
          limiter?.workers?.reduce((sum, { limit }) => sum + limit, 0),
          limiter?.limit,
        );
        for (const answer of held.splice(0)) answer();
        for (const { status } of await Promise.all(calls)) t.equal(status, 200);
      },
    );
  },
);
