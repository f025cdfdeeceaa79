/** A rate limit at a real sidecar of one worker and of two: what passes is what the limit says, whoever of them is asked. */
import t from "tap";
import type { WorkerView } from "../../../src/sidecar/workers/views.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource, send } from "../../support/meshes/pair.ts";
import { withCrowd, type Crowd } from "../../support/meshes/workers.ts";

/** Requests that were let through, by the worker of the called side that did it. */
async function byWorker({ callee }: Crowd): Promise<readonly number[]> {
  const { text } = await send(callee.ports.admin ?? 0, {
    path: "/workers",
    host: "127.0.0.1",
  });
  return (JSON.parse(text) as readonly WorkerView[]).map(
    ({ requests }) => requests.inbound,
  );
}

function limit(requests: number, interval: string): Resource {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    rateLimit: { requests, interval },
  });
}

const CALLERS = 16;

for (const workers of [1, 2])
  void t.test(
    `at most 5 % over the limit at ${workers === 1 ? "one worker" : "two workers"}`,
    async (t) => {
      const rate = 200;
      const lasting = 2000;
      await withCrowd(
        {
          workers,
          app: (_request, response) => response.end("ok"),
          resources: [limit(rate, "1s")],
        },
        async (crowd) => {
          let passed = 0;
          let started: number | undefined;
          let ended = 0;
          // More than the limit at any time; the count begins when the burst is gone.
          const ask = async (): Promise<void> => {
            const connection = crowd.connection();
            while (started === undefined || ended < started + lasting) {
              const { status } = await connection.get();
              ended = performance.now();
              if (status === 429) started ??= ended;
              else if (status !== 200) t.fail(`status ${status}`);
              else if (started !== undefined) passed += 1;
            }
          };
          await Promise.all(Array.from({ length: CALLERS }, ask));
          const allowed = (rate * (ended - (started ?? 0))) / 1000;
          // A machine that is busy elsewhere may ask for less than the limit: test/core/shared/rate-table.test.ts has the exact count.
          t.ok(passed > 0 && passed <= allowed * 1.05, `${passed} passed`);
          const served = await byWorker(crowd);
          t.equal(served.length, workers);
          t.ok(
            served.every((count) => count > 0),
            `${served.join(" and ")} requests`,
          );
        },
      );
    },
  );

void t.test(
  "a limit of a hundred an hour lets a hundred through, in all of two workers",
  async (t) => {
    let served = 0;
    await withCrowd(
      {
        app: (_request, response) => {
          served += 1;
          response.end("ok");
        },
        resources: [limit(100, "1h")],
      },
      async (crowd) => {
        const statuses: number[] = [];
        const connections = Array.from({ length: CALLERS }, () =>
          crowd.connection(),
        );
        for (let round = 0; round < 20; round += 1)
          for (const { status } of await Promise.all(
            connections.map((each) => each.get()),
          ))
            statuses.push(status);
        t.equal(statuses.filter((status) => status === 200).length, 100);
        t.equal(statuses.filter((status) => status === 429).length, 220);
        t.equal(served, 100);
        const asked = await byWorker(crowd);
        t.ok(
          asked.every((count) => count > 0),
          asked.join(" and "),
        );
      },
    );
  },
);
