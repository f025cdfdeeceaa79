/** The deadline on its way: told from sidecar to sidecar, refused before the application once it has passed, and explained in the error (trap 11). */
import type { RequestListener } from "node:http";
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { parseGrpcTimeout } from "../../../../src/policy/timeout.ts";
import { makeField } from "../../../../src/wire/fields.ts";
import { fakeClock, passing } from "../../../support/clocks/fake-clock.ts";
import { nextSidecar } from "../../../support/peers/next-sidecar.ts";
import { overLink } from "../../../support/peers/over-link.ts";
import {
  resource,
  send,
  until,
  withPair,
} from "../../../support/meshes/pair.ts";

const DESTINATION = makeField("x-wherry-destination", "orders.shop:80");

function route(rule: object): Resource {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...rule }],
  });
}

/** Time-outs of the route, and what the next sidecar is told at once; nothing: nothing. */
const TOLD: readonly (readonly [Record<string, string>, string?])[] = [
  [{ request: "2s" }, "2000"],
  [{ request: "2s", backendRequest: "700ms" }, "700"],
  [{ backendRequest: "3s" }, "3000"],
  [{ request: "0s" }],
];

void t.test(
  "the next sidecar is told what is left of the attempt, and believes no application",
  async (t) => {
    for (const [timeouts, told] of TOLD) {
      const clock = fakeClock({ wall: Date.now() });
      await withPair({ clock, instances: 0 }, async (pair) => {
        const peer = await nextSidecar(pair, "x-wherry-deadline", 200);
        try {
          pair.apply([
            route({ timeouts }),
            resource(
              "Workload",
              "orders-1",
              {
                address: "127.0.0.1",
                ports: { http: 8080 },
                serviceAccount: "orders",
                link: { port: peer.port },
              },
              { labels: { app: "orders" } },
            ),
          ]);
          const answer = await pair.call({
            headers: { "x-wherry-deadline": "1" },
          });
          t.equal(answer.status, 200, answer.text);
          t.strictSame(peer.heard, [told], JSON.stringify(timeouts));
        } finally {
          peer.close();
        }
      });
    }
  },
);

void t.test(
  "an application without a sidecar is told nothing, nor is one behind its own",
  async (t) => {
    for (const plaintext of [true, false])
      await withPair(
        { plaintext, resources: [route({ timeouts: { request: "5s" } })] },
        async (pair) => {
          const { text } = await pair.call();
          t.notMatch(text, /x-wherry/);
        },
      );
  },
);

void t.test(
  "expired work is refused before it reaches the application",
  async (t) => {
    let reached = 0;
    const app: RequestListener = (_request, response) => {
      reached += 1;
      response.end();
    };
    await withPair({ app: () => app }, async (pair) => {
      const ask = (
        left: string,
      ): Promise<{ status: number; reason: string | undefined }> =>
        overLink(pair, "web", {
          fields: [DESTINATION, makeField("x-wherry-deadline", left)],
        });
      t.match(await ask("0"), { status: 504, reason: "DEADLINE_EXCEEDED" });
      t.equal(reached, 0);
      for (const left of ["5000", "soon", "-1", "1.5"])
        t.match(await ask(left), { status: 200 }, left);
      t.equal(
        await pair.metric(
          pair.callee,
          "wherry_requests_total",
          "DEADLINE_EXCEEDED",
        ),
        1,
      );
    });
  },
);

void t.test(
  "work whose caller has given up is broken off, though its word did not arrive",
  async (t) => {
    let closed = false;
    const app: RequestListener = (request) => {
      request.on("close", () => (closed = true));
    };
    const clock = fakeClock({ wall: Date.now() });
    await withPair({ clock, app: () => app }, async (pair) => {
      const { value: answer, ms } = await passing(
        clock,
        overLink(pair, "web", {
          fields: [DESTINATION, makeField("x-wherry-deadline", "100")],
        }),
      );
      t.match(answer, { status: 504, reason: "DEADLINE_EXCEEDED" });
      t.ok(ms >= 140, `not before the caller itself: ${ms} by the clock`);
      await until(() => closed);
      t.match(
        pair.log.find(({ direction }) => direction === "inbound"),
        {
          detail:
            /the caller's deadline passed: .* waiting for a response; 1 attempt/,
        },
      );
    });
  },
);

void t.test("a stranger's word on the deadline is not heard", async (t) => {
  await withPair(
    {
      calleePublish: true,
      resources: [
        resource("PeerAuthentication", "open", {
          mtls: { mode: "PERMISSIVE" },
        }),
      ],
    },
    async (pair) => {
      const port = pair.callee.ports.published.values().next().value ?? 0;
      const answer = await send(port, {
        headers: { "x-wherry-deadline": "0" },
      });
      t.equal(answer.status, 200);
      t.notMatch(answer.text, /x-wherry-deadline/);
    },
  );
});

void t.test(
  "a gRPC call without time left does not reach the application",
  async (t) => {
    let reached = 0;
    const app: RequestListener = (_request, response) => {
      reached += 1;
      response.end();
    };
    await withPair({ app: () => app }, async (pair) => {
      const answer = await pair.call({
        method: "POST",
        path: "/shop.Cart/Add",
        headers: { "content-type": "application/grpc", "grpc-timeout": "0u" },
      });
      t.match(answer, {
        headers: { "grpc-status": "4" },
        reason: "REQUEST_TIMEOUT",
      });
      t.match(
        await overLink(pair, "web", {
          method: "POST",
          fields: [
            DESTINATION,
            makeField("content-type", "application/grpc"),
            makeField("grpc-timeout", "0m"),
          ],
        }),
        { status: 200, reason: "DEADLINE_EXCEEDED" },
      );
      t.equal(reached, 0);
    });
  },
);

void t.test("the error says where the time went", async (t) => {
  const hangs: RequestListener = () => undefined;
  const clock = fakeClock({ wall: Date.now() });
  await withPair(
    {
      clock,
      app: () => hangs,
      instances: 2,
      resources: [
        route({
          timeouts: { request: "400ms", backendRequest: "150ms" },
          retry: { attempts: 1, backoff: "30ms" },
        }),
      ],
    },
    async (pair) => {
      const { value: last } = await passing(clock, pair.call());
      t.equal(last.reason, "ATTEMPT_TIMEOUT");
      t.match(
        last.text,
        /did not respond within timeouts.backendRequest: .*[0-9]+ ms waiting for a response, [3-9][0-9] ms pausing before a retry; 2 attempts/,
      );
      pair.apply([route({ timeouts: { request: "100ms" } })]);
      const { value: whole } = await passing(clock, pair.call());
      t.equal(whole.reason, "REQUEST_TIMEOUT");
      t.match(
        whole.text,
        /timeouts\.request passed: .*[0-9]+ ms waiting for a response; 1 attempt\./,
      );
    },
  );
});

interface Late {
  /** Milliseconds that are left when the server answers. */
  readonly left: number;
  readonly timeout?: string;
  /** The route's `backendRequest`. */
  readonly attempt?: string;
  /** Whose deadline it is taken for. */
  readonly whose: "the caller's" | "the server's own";
}

const LATE: readonly Late[] = [
  { left: 20, timeout: "200m", whose: "the caller's" },
  { left: 0.25, timeout: "200m", whose: "the caller's" },
  { left: 20, timeout: "2S", attempt: "3s", whose: "the caller's" },
  { left: 4, timeout: "10m", whose: "the caller's" },
  { left: 9, timeout: "10m", whose: "the server's own" },
  { left: 120, timeout: "200m", whose: "the server's own" },
  { left: 1800, timeout: "2S", attempt: "300ms", whose: "the server's own" },
  { left: 20, whose: "the server's own" },
];

for (const { left, timeout, attempt, whose } of LATE)
  for (const trailers of [false, true])
    void t.test(
      `a server that reports DEADLINE_EXCEEDED ${left} ms before a deadline of ${timeout ?? "nobody"} speaks of ${whose}, ${trailers ? "in trailers" : "without a message"}`,
      async (t) => {
        const clock = fakeClock({ wall: Date.now() });
        const given = (parseGrpcTimeout(timeout) ?? 200) - left;
        const app: RequestListener = (request, response) => {
          request.resume();
          request.on("end", () => {
            clock.advance(given);
            response.setHeader("content-type", "application/grpc");
            if (trailers) {
              response.setHeader("trailer", "grpc-status");
              response.write("\0\0\0\0\0");
              response.addTrailers({ "grpc-status": "4" });
            } else response.setHeader("grpc-status", "4");
            response.end();
          });
        };
        const resources = [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            circuitBreaker: { volumeThreshold: 4, errorThresholdPercent: 50 },
          }),
          ...(attempt === undefined
            ? []
            : [route({ timeouts: { backendRequest: attempt } })]),
        ];
        await withPair({ clock, app: () => app, resources }, async (pair) => {
          for (let index = 0; index < 4; index += 1) {
            const { headers, trailers, reason } = await pair.call({
              method: "POST",
              path: "/shop.Cart/Add",
              headers: {
                te: "trailers",
                "content-type": "application/grpc",
                ...(timeout === undefined ? {} : { "grpc-timeout": timeout }),
              },
              body: "\0\0\0\0\0",
            });
            t.equal(headers["grpc-status"] ?? trailers["grpc-status"], "4");
            t.equal(reason, undefined, "the server's own word");
          }
          const state = await pair.metric(
            pair.caller,
            "wherry_breaker_state",
            "orders",
          );
          t.equal(state, whose === "the caller's" ? 0 : 2, "the breaker");
        });
      },
    );
