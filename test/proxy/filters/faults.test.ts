/** FaultInjection at a real sidecar: on the caller's side, never mended by a retry, over when it expires, and never kept quiet. */
import { connect } from "node:net";
import { pino } from "pino";
import t from "tap";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";
import { PREFACE } from "../../../src/wire/http2/frames/frames.ts";
import {
  headers,
  settings,
  SETTINGS_ACK,
} from "../../support/http2/raw-peer.ts";
import { fakeClock, passing } from "../../support/clocks/fake-clock.ts";

function fault(
  spec: Record<string, unknown>,
  expiresAt = Date.now() + 3_600_000,
): ReturnType<typeof resource> {
  return resource("FaultInjection", "chaos", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    expiresAt: new Date(expiresAt).toISOString(),
    ...spec,
  });
}

const route = resource("HTTPRoute", "orders", {
  parentRefs: [{ kind: "Service", name: "orders" }],
  rules: [
    {
      backendRefs: [{ name: "orders", port: 80 }],
      timeouts: { request: "50ms" },
      retry: { codes: [503], attempts: 3 },
    },
  ],
});

void t.test(
  "trap 19: abort: the status that it names, with its reason; the service never hears of it, and no retry mends it",
  async (t) => {
    let served = 0;
    await withPair(
      {
        app: () => (_request, response) => {
          served += 1;
          response.end("ok");
        },
        resources: [
          route,
          fault({ abort: { httpStatus: 503, percentage: 100 } }),
        ],
      },
      async (pair) => {
        const answer = await pair.call();
        t.equal(answer.status, 503);
        t.equal(answer.reason, "FAULT_INJECTED; policy=shop/chaos");
        t.equal(served, 0);
        t.match(pair.log, [
          {
            direction: "outbound",
            attempts: 0,
            reason: "FAULT_INJECTED",
            fault: "shop/chaos: abort 503",
          },
        ]);
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_faults_injected_total",
            'kind="abort"',
            'policy="shop/chaos"',
          ),
          1,
        );
        t.equal(await pair.metric(pair.caller, "wherry_fault_active{"), 1);
        t.match(pair.spans.find(({ kind }) => kind === "server")?.attributes, {
          "wherry.fault": "shop/chaos: abort 503",
        });
        pair.apply([]);
        t.equal((await pair.call()).status, 200, "deleting it ends it");
        t.equal(await pair.metric(pair.caller, "wherry_fault_active{"), 0);
      },
    );
  },
);

void t.test("a gRPC caller gets the gRPC status", async (t) => {
  await withPair(
    {
      resources: [fault({ abort: { grpcStatus: "ABORTED", percentage: 100 } })],
    },
    async (pair) => {
      const answer = await pair.call({
        method: "POST",
        headers: { "content-type": "application/grpc" },
      });
      t.equal(answer.status, 200);
      t.equal(answer.headers["grpc-status"], "10");
      t.equal((await pair.call()).status, 409);
    },
  );
});

void t.test("reset: the connection ends without an answer", async (t) => {
  await withPair(
    { resources: [fault({ reset: { percentage: 100 } })] },
    async (pair) => {
      await t.rejects(pair.call());
      t.match(pair.log, [{ status: 0, reason: "FAULT_INJECTED" }]);
    },
  );
});

void t.test(
  "trap 19: delay: before the call goes out, and the route's time-out does not cut it short",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        resources: [
          route,
          fault({
            delay: { fixedDelay: "200ms", percentage: 100 },
            matches: [{ path: { type: "Exact", value: "/slow" } }],
          }),
        ],
      },
      async (pair) => {
        const { value: answer, ms } = await passing(
          clock,
          pair.call({ path: "/slow", method: "POST", body: "kept" }),
        );
        t.ok(ms >= 200, `${ms} ms by the sidecars' clock`);
        t.equal(answer.status, 200);
        t.match(JSON.parse(answer.text), { body: "kept" });
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { fault: "shop/chaos: delay 200 ms", status: 200 },
        );
        pair.log.length = 0;
        t.equal((await passing(clock, pair.call())).value.status, 200);
        const other = pair.log.find(
          ({ direction }) => direction === "outbound",
        );
        t.equal(other?.status, 200);
        t.notOk(other !== undefined && "fault" in other, "others are spared");
      },
    );
  },
);

void t.test(
  "bandwidth: the answer's body comes slowly, and whole",
  async (t) => {
    const body = Buffer.alloc(40_000, "b").toString();
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => (_request, response) => response.end(body),
        resources: [
          fault({ bandwidth: { kibibytesPerSecond: 100, percentage: 100 } }),
        ],
      },
      async (pair) => {
        const { value: answer, ms } = await passing(clock, pair.call());
        t.equal(answer.text, body);
        t.ok(ms > 300, `${ms} ms by the clock for 390 ms worth`);
      },
    );
  },
);

void t.test(
  "scoped: to the Service and its port, to the callers that it names, and to the requests that match",
  async (t) => {
    const abort = { httpStatus: 503, percentage: 100 };
    // The same instances, by another name.
    const cart = (targetPort: number): ReturnType<typeof resource> =>
      resource("Service", "cart", {
        ports: [
          { name: "http", port: 80 },
          { name: "more", port: 81, targetPort },
        ],
        selector: { app: "orders" },
      });
    const of = (name: string, more: object = {}): object => ({
      targetRefs: [{ kind: "Service", name, ...more }],
    });
    await withPair({}, async (pair) => {
      for (const [spec, host, expected] of [
        [of("cart"), "cart.shop", 503],
        [of("cart"), "cart.shop:81", 503],
        [of("orders"), "cart.shop:81", 200],
        [of("cart"), "orders.shop", 200],
        [of("cart", { sectionName: "more" }), "cart.shop:81", 503],
        [of("cart", { sectionName: "more" }), "cart.shop", 200],
        [{ from: [{ labels: { app: "web" } }] }, "orders.shop", 503],
        [{ from: [{ labels: { app: "jobs" } }] }, "orders.shop", 200],
        [{ matches: [{ method: "GET" }] }, "orders.shop", 503],
        [{ matches: [{ method: "POST" }] }, "orders.shop", 200],
      ] as const) {
        pair.apply([
          cart(pair.instances[0]?.appPort ?? 0),
          fault({ abort, ...spec }),
        ]);
        t.equal(
          (await pair.call({ host })).status,
          expected,
          `${JSON.stringify(spec)}, ${host}`,
        );
      }
    });
  },
);

void t.test(
  "it ends at its time by the sidecar's own clock, without a word from anyone, and the log says when it begins, goes on and ends",
  async (t) => {
    // The certificates are judged by it.
    const clock = fakeClock({ wall: Date.now() });
    const lines: { readonly msg: string; readonly policy?: string }[] = [];
    const logger = pino(
      {},
      { write: (line: string) => lines.push(JSON.parse(line) as never) },
    );
    await withPair(
      {
        clock,
        caller: { logger },
        resources: [
          fault(
            { abort: { httpStatus: 503, percentage: 100 } },
            clock.wall() + 150_000,
          ),
        ],
      },
      async (pair: Pair) => {
        const said = (): string[] =>
          lines
            .filter(({ policy }) => policy === "shop/chaos")
            .map(({ msg }) => msg);
        t.equal((await pair.call()).status, 503);
        t.strictSame(said(), ["FAULTS ARE INJECTED on purpose"]);
        clock.advance(149_999);
        t.equal(said().length, 3, "once a minute");
        t.equal((await pair.call()).status, 503);
        clock.advance(1);
        t.equal(said().at(-1), "fault injection is over");
        // What waits for the clock, such as a dial, goes on.
        let over = false;
        const answer = pair.call().finally(() => (over = true));
        await until(() => {
          clock.advance(0.01);
          return over;
        });
        t.equal((await answer).status, 200);
        t.equal(await pair.metric(pair.caller, "wherry_fault_active{"), 0);
      },
    );
  },
);

/** A caller with one request, in either version. */
const ONE_REQUEST = [
  ["HTTP/1", Buffer.from("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n")],
  [
    "HTTP/2",
    Buffer.concat([
      PREFACE,
      settings(),
      SETTINGS_ACK,
      headers(1, [
        [":method", "GET"],
        [":scheme", "http"],
        [":authority", "orders.shop"],
        [":path", "/"],
      ]),
    ]),
  ],
] as const;

void t.test(
  "a caller that leaves while it is made to wait is noted when the wait is over, and its call goes nowhere",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        resources: [fault({ delay: { fixedDelay: "1s", percentage: 100 } })],
      },
      async (pair) => {
        const reaches = async (
          name: string,
          label: string,
          count: number,
        ): Promise<void> => {
          while ((await pair.metric(pair.caller, name, label)) !== count);
        };
        for (const [version, bytes] of ONE_REQUEST) {
          pair.log.length = 0;
          const injected = ["wherry_faults_injected_total", "delay"] as const;
          const before = await pair.metric(pair.caller, ...injected);
          const { outbound: port = 0 } = pair.caller.ports;
          const socket = connect({ host: "127.0.0.1", port });
          socket.write(bytes);
          await reaches(...injected, before + 1);
          socket.resetAndDestroy();
          await reaches("wherry_connections{", 'kind="outbound"', 0);
          clock.advance(1000);
          await until(() => pair.log.length > 0);
          t.match(
            pair.log,
            [{ reason: "CLIENT_CLOSED", status: 0, attempts: 0 }],
            version,
          );
        }
      },
    );
  },
);
