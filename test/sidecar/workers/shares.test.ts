/** What two workers carry and hold where it is known which of them each connection came to: their parts, and a cap with a queue before it. */
import t from "tap";
import type { WorkerView } from "../../../src/sidecar/workers/views.ts";
import type { Sidecar } from "../../../src/sidecar/sidecar.ts";
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

/** Requests that ended, by worker. */
async function carried(
  sidecar: Sidecar,
  side: "inbound" | "outbound",
): Promise<readonly [number, number]> {
  const [first, second] = await page<readonly WorkerView[]>(
    sidecar,
    "/workers",
  );
  return [first?.requests[side] ?? 0, second?.requests[side] ?? 0];
}

/** So many connections in each of the caller's two workers. The kernel chooses; the worker that counts a connection's first call has it. */
async function inEach(
  crowd: Crowd,
  wanted: number,
): Promise<readonly [readonly Caller[], readonly Caller[]]> {
  const found: [Caller[], Caller[]] = [[], []];
  let [before] = await carried(crowd.caller, "outbound");
  while (found.some((each) => each.length < wanted)) {
    const made = crowd.connection();
    await made.get();
    const [after] = await carried(crowd.caller, "outbound");
    const its = found[after > before ? 0 : 1];
    before = after;
    if (its.length < wanted) its.push(made);
    else made.close();
  }
  return found;
}

/** Of each connection, one call after the other; long enough for dozens of the turns in which a worker keeps to one of its peer's. */
const CALLS = 120;

void t.test(
  "whichever worker an application's connections came to, each inbound worker carries 35 to 65 %",
  async (t) => {
    await withCrowd(
      { app: (_request, response) => response.end("ok") },
      async (crowd) => {
        const [first, second] = await inEach(crowd, 32);
        for (const [what, callers] of [
          ["half in each", [...first, ...second]],
          ["all in the first", first],
          ["all in the second", second],
        ] as const) {
          const out = await carried(crowd.caller, "outbound");
          const into = await carried(crowd.callee, "inbound");
          await Promise.all(
            callers.map(async (caller) => {
              for (let call = 0; call < CALLS; call += 1) {
                const { status } = await caller.get();
                if (status !== 200) t.fail(`${what}: status ${status}`);
              }
            }),
          );
          const outAfter = await carried(crowd.caller, "outbound");
          t.same(
            outAfter.map((count, index) => count - (out[index] ?? 0)),
            [first, second].map(
              (each) =>
                CALLS * each.filter((one) => callers.includes(one)).length,
            ),
            `${what}: outbound`,
          );
          const intoAfter = await carried(crowd.callee, "inbound");
          const share = (intoAfter[0] - into[0]) / (CALLS * callers.length);
          t.ok(share >= 0.35 && share <= 0.65, `${what}: inbound ${share}`);
        }
      },
    );
  },
);

void t.test(
  "a cap of 100: of 300 calls that came to both workers never more than 100 are at the application, and all come in",
  async (t) => {
    const held: (() => void)[] = [];
    let most = 0;
    await withCrowd(
      {
        app: (_request, response) => {
          held.push(() => response.end("late"));
          most = Math.max(most, held.length);
        },
        resources: [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            connectionPool: {
              tcp: { maxConnections: 100 },
              http: { http1MaxPendingRequests: 200 },
            },
          }),
        ],
      },
      async (crowd) => {
        const calls = Array.from({ length: 300 }, () =>
          crowd.connection().get(),
        );
        for (;;) {
          const { clusters } = await page<{
            readonly clusters: readonly { readonly pending: number }[];
          }>(crowd.caller, "/clusters");
          if (held.length === 100 && clusters[0]?.pending === 200) break;
        }
        for (let left = 300; left > 0;) {
          await until(() => held.length === Math.min(100, left));
          // Some at a time, so that rooms of either worker's come free at once.
          for (const answer of held.splice(0, 30)) {
            answer();
            left -= 1;
          }
        }
        for (const { status, text } of await Promise.all(calls)) {
          if (status !== 200) t.fail(`status ${status}: ${text}`);
        }
        // By chance one of them has no more than a third less than once in ten million runs.
        for (const count of await carried(crowd.caller, "outbound"))
          t.ok(count > 100, `${count} of one worker's`);
      },
    );
    t.equal(most, 100);
  },
);
