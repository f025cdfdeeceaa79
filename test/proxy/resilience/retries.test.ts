/** Laws 2 and 3 against real servers: what is repeated, where, and what never is (law 2: a body within 64 KiB). */
import type { Socket } from "node:net";
import t from "tap";
import { fakeClock, passing } from "../../support/clocks/fake-clock.ts";
import {
  resource,
  until,
  withPair,
  type Answer,
  type Pair,
} from "../../support/meshes/pair.ts";

const OK =
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";

/** An application that reads one whole head and then does as it is told; counts what reached it. */
function scripted(act: (socket: Socket, count: number) => void): {
  readonly heads: string[];
  readonly app: (socket: Socket) => void;
} {
  const heads: string[] = [];
  return {
    heads,
    app(socket) {
      socket.on("error", () => undefined);
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        for (
          let end = text.indexOf("\r\n\r\n");
          end >= 0;
          end = text.indexOf("\r\n\r\n")
        ) {
          const head = text.slice(0, end);
          const length = Number(
            /content-length: (\d+)/i.exec(head)?.[1] ?? "0",
          );
          if (text.length < end + 4 + length) return;
          text = text.slice(end + 4 + length);
          heads.push(head);
          act(socket, heads.length);
        }
      });
    },
  };
}

function route(spec: Record<string, unknown>): ReturnType<typeof resource> {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...spec }],
  });
}

/** Each endpoint gets its turn, whatever it has shown of itself. */
const roundRobin = resource("TrafficPolicy", "turns", {
  targetRefs: [{ kind: "Service", name: "orders" }],
  loadBalancer: { simple: "ROUND_ROBIN" },
});

async function callUntil(
  pair: Pair,
  count: number,
  options: Parameters<Pair["call"]>[0],
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < count; index += 1)
    answers.push(await pair.call(options));
  return answers;
}

void t.test(
  "trap 12: a POST whose connection cannot be made goes to another endpoint",
  async (t) => {
    await withPair({ instances: 2, resources: [roundRobin] }, async (pair) => {
      // The second instance is gone without a word.
      await pair.instances[1]?.sidecar?.destroy();
      for (const answer of await callUntil(pair, 20, {
        method: "POST",
        body: "pay",
      }))
        t.equal(answer.status, 200, answer.text);
      t.ok(
        (await pair.metric(
          pair.caller,
          "wherry_retries_total",
          "CONNECT_FAILED",
        )) > 0,
        "by a retry",
      );
    });
  },
);

void t.test(
  "trap 12: a POST to an instance whose application is gone goes to another, for its sidecar says that nothing was processed",
  async (t) => {
    await withPair({ instances: 2, resources: [roundRobin] }, async (pair) => {
      pair.instances[1]?.app.close();
      for (const answer of await callUntil(pair, 20, {
        method: "POST",
        body: "pay",
      }))
        t.equal(answer.status, 200, answer.text);
      t.ok(
        (await pair.metric(
          pair.caller,
          "wherry_retries_total",
          "application-unreachable",
        )) > 0,
      );
    });
  },
);

void t.test(
  "with the only application gone the caller is told so, and why",
  async (t) => {
    await withPair({}, async (pair) => {
      pair.instances[0]?.app.close();
      const answer = await pair.call();
      t.equal(answer.status, 503);
      t.equal(answer.reason, "APPLICATION_UNREACHABLE");
    });
  },
);

void t.test("trap 12: a POST that was read is never sent again", async (t) => {
  const { heads, app } = scripted((socket) => socket.resetAndDestroy());
  await withPair(
    {
      instances: 2,
      rawApp: () => app,
      resources: [route({ retry: { codes: [500, 502, 503], attempts: 3 } })],
    },
    async (pair) => {
      const answer = await pair.call({ method: "POST", body: "pay" });
      t.equal(answer.status, 503);
      t.match(answer.reason, /^UPSTREAM_RESET/);
      t.equal(heads.length, 1, "the servers have seen it once");
    },
  );
});

void t.test(
  "trap 12: a POST with an idempotency-key is, where the route asks",
  async (t) => {
    const { heads, app } = scripted((socket, count) => {
      if (count === 1) socket.resetAndDestroy();
      else socket.write(OK);
    });
    await withPair(
      {
        instances: 2,
        rawApp: () => app,
        resources: [route({ retry: { codes: [503], attempts: 2 } })],
      },
      async (pair) => {
        const answer = await pair.call({
          method: "POST",
          body: "pay",
          headers: { "idempotency-key": "1" },
        });
        t.equal(answer.status, 200);
        t.equal(heads.length, 2);
      },
    );
  },
);

void t.test(
  "trap 12: statuses are repeated for GET only, as often as asked",
  async (t) => {
    for (const { method, seen, status } of [
      { method: "GET", seen: 3, status: 200 },
      { method: "POST", seen: 1, status: 503 },
    ]) {
      const { heads, app } = scripted((socket, count) =>
        socket.write(
          count < 3 ? "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy" : OK,
        ),
      );
      await withPair(
        {
          instances: 2,
          rawApp: () => app,
          resources: [route({ retry: { codes: [503], attempts: 3 } })],
        },
        async (pair) => {
          const answer = await pair.call({ method });
          t.equal(answer.status, status, method);
          t.equal(heads.length, seen, `${method} was seen ${seen} times`);
          if (seen > 1) {
            const record = pair.log.find(
              ({ direction }) => direction === "outbound",
            );
            t.equal(record?.attempts, 3, "the log counts the attempts");
          }
        },
      );
    }
  },
);

void t.test(
  "trap 12: a body within 64 KiB is sent again, a longer one is not",
  async (t) => {
    for (const { size, status } of [
      { size: 60_000, status: 200 },
      { size: 70_000, status: 503 },
    ]) {
      const bodies: number[] = [];
      await withPair(
        {
          instances: 2,
          app: () => (request, response) => {
            let octets = 0;
            request.on("data", (chunk: Buffer) => (octets += chunk.length));
            request.on("end", () => {
              bodies.push(octets);
              response.statusCode = bodies.length === 1 ? 503 : 200;
              response.end();
            });
          },
          resources: [route({ retry: { codes: [503], attempts: 1 } })],
        },
        async (pair) => {
          const answer = await pair.call({
            method: "PUT",
            body: "b".repeat(size),
          });
          t.equal(answer.status, status, `${size} octets`);
          t.same(bodies, status === 200 ? [size, size] : [size]);
        },
      );
    }
  },
);

void t.test(
  "a stale connection to the application is the sidecar's affair: the callers see nothing of it",
  async (t) => {
    // Closes each connection without a word once the first answer is out, as servers do with idle ones.
    const { heads, app } = scripted((socket) => {
      socket.write(OK, () => setImmediate(() => socket.resetAndDestroy()));
    });
    await withPair({ rawApp: () => app }, async (pair) => {
      for (let index = 0; index < 20; index += 1)
        t.equal((await pair.call()).status, 200);
      t.ok(heads.length >= 20);
    });
  },
);

void t.test("trap 12: retries stop at the budget", async (t) => {
  const { heads, app } = scripted((socket) =>
    socket.write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
  );
  await withPair(
    {
      rawApp: () => app,
      resources: [
        route({ retry: { codes: [503], attempts: 1, backoff: "1ms" } }),
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          retryConstraint: {
            budget: { percent: 20, interval: "10s" },
            minRetryRate: { count: 1, interval: "10s" },
          },
        }),
      ],
    },
    async (pair) => {
      for (let index = 0; index < 50; index += 1) await pair.call();
      t.ok(
        heads.length >= 50 && heads.length <= 61,
        `${heads.length} attempts for 50 calls`,
      );
      t.ok(
        (await pair.metric(
          pair.caller,
          "wherry_retries_refused_total",
          "budget",
        )) > 0,
      );
    },
  );
});

void t.test(
  "trap 11: the attempt's time-out stops the work and goes elsewhere",
  async (t) => {
    let reached = 0;
    let closed = 0;
    await withPair(
      {
        instances: 2,
        app: (index) => (_request, response) => {
          if (index === 1) {
            response.end("quick");
            return;
          }
          reached += 1;
          response.on("close", () => (closed += 1));
        },
        resources: [
          roundRobin,
          route({
            timeouts: { request: "5s", backendRequest: "100ms" },
            retry: { codes: [503], attempts: 3, backoff: "1ms" },
          }),
        ],
      },
      async (pair) => {
        let slow = 0;
        for (let index = 0; index < 10; index += 1) {
          const answer = await pair.call();
          t.equal(answer.text, "quick");
          const record = pair.log.findLast(
            ({ direction }) => direction === "outbound",
          );
          if ((record?.attempts ?? 0) > 1) slow += 1;
        }
        t.ok(slow > 0, "some went to the slow one first");
        // Each time-out ends the work at the application, where it had begun; the reset takes its way through two proxies.
        await until(() => closed === reached);
      },
    );
  },
);

void t.test(
  "trap 11: the request's time-out is a 504 at its time, whatever is tried",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => () => undefined,
        resources: [route({ timeouts: { request: "100ms" } })],
      },
      async (pair) => {
        const { value: answer, ms } = await passing(clock, pair.call());
        t.equal(answer.status, 504);
        t.equal(answer.reason, "REQUEST_TIMEOUT");
        t.ok(ms >= 100 && ms < 250, `${ms} ms by the sidecars' clock`);
      },
    );
  },
);

void t.test(
  "trap 11: attempts share the request's time-out, none has one of its own",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => () => undefined,
        resources: [
          route({
            timeouts: { request: "100ms", backendRequest: "40ms" },
            retry: { codes: [503], attempts: 9, backoff: "1ms" },
          }),
        ],
      },
      async (pair) => {
        const { value: answer, ms } = await passing(clock, pair.call());
        t.equal(answer.status, 504);
        t.ok(ms < 140, `${ms} ms by the sidecars' clock`);
        const record = pair.log.findLast(
          ({ direction }) => direction === "outbound",
        );
        t.ok((record?.attempts ?? 0) > 1, `${record?.attempts} attempts`);
      },
    );
  },
);
