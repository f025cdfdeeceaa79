/** Which trouble a request is given: whose fault, which draws, and none after the end. */
import t from "tap";
import { drawFault, type Injection } from "../../src/policy/fault.ts";
import { type Destination } from "../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import type { FaultInjectionSpec } from "../../src/resources/fault-injection/spec.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";
import {
  born,
  mesh,
  request,
  self,
  service,
  VERSION,
} from "../support/resources/policy-fixtures.ts";

const END = Date.UTC(2026, 0, 10);
const NOW = END - 3_600_000;

function fault(
  name: string,
  spec: Partial<FaultInjectionSpec>,
  more: object = {},
): Resource {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "FaultInjection",
    metadata: { name: short, namespace, ...more },
    spec: {
      targetRefs: [{ kind: "Service", name: "orders" }],
      expiresAt: new Date(END).toISOString(),
      ...spec,
    },
  };
}

function destination(
  resources: readonly Resource[],
  port = 80,
  who = self(),
): Destination | undefined {
  return compileSnapshot(
    [
      mesh(),
      service("shop/orders", {
        ports: [
          { name: "http", port: 80 },
          { name: "admin", port: 81 },
        ],
      }),
      service("infra/orders"),
      ...resources,
    ],
    who,
    VERSION,
  ).destination("orders.shop", port);
}

function drawn(
  resources: readonly Resource[],
  options: {
    readonly port?: number;
    readonly who?: ReturnType<typeof self>;
    readonly wall?: number;
    readonly random?: () => number;
    readonly request?: ReturnType<typeof request>;
  } = {},
): Injection | undefined {
  const faults = destination(resources, options.port, options.who)?.faults;
  return faults === undefined
    ? undefined
    : drawFault(
        faults,
        options.request ?? request("/"),
        options.wall ?? NOW,
        options.random ?? (() => 0),
      );
}

const always = { percentage: 100 };

void t.test("without a fault there is nothing on the way", (t) => {
  t.equal(destination([])?.faults, undefined);
  t.equal(
    destination([fault("infra/a", { reset: always })])?.faults,
    undefined,
    "one of another namespace's Service of the same name",
  );
  t.equal(
    destination([
      fault("shop/a", { reset: always, from: [{ namespace: "infra" }] }),
    ])?.faults,
    undefined,
    "one for other callers",
  );
  t.end();
});

void t.test("each kind", (t) => {
  for (const [spec, expected] of [
    [{ delay: { fixedDelay: "1s500ms", percentage: 100 } }, { delay: 1500 }],
    [{ reset: always }, { reset: true }],
    [
      { bandwidth: { kibibytesPerSecond: 2, percentage: 100 } },
      { bandwidth: 2048 },
    ],
    [
      { abort: { httpStatus: 503, percentage: 100 } },
      { abort: { status: 503, grpc: 14 } },
    ],
    [
      { abort: { httpStatus: 418, percentage: 100 } },
      { abort: { status: 418, grpc: 2 } },
    ],
    [
      { abort: { grpcStatus: "NOT_FOUND", percentage: 100 } },
      { abort: { status: 404, grpc: 5 } },
    ],
    [
      { abort: { grpcStatus: "DATA_LOSS", percentage: 100 } },
      { abort: { status: 500, grpc: 15 } },
    ],
  ] as const)
    t.match(drawn([fault("shop/a", spec)]), {
      policy: "shop/a",
      ...expected,
    });
  t.end();
});

void t.test("trap 19: a percentage that is left out is 0", (t) => {
  t.equal(
    drawn([
      fault("shop/a", {
        delay: { fixedDelay: "1s" },
        abort: { httpStatus: 503 },
        reset: {},
        bandwidth: { kibibytesPerSecond: 1 },
      }),
    ]),
    undefined,
  );
  t.end();
});

void t.test("trap 19: delay and abort are independent draws", (t) => {
  const random = seededRandom(7);
  const resources = [
    fault("shop/a", {
      delay: { fixedDelay: "1s", percentage: 20 },
      abort: { httpStatus: 503, percentage: 30 },
    }),
  ];
  const faults = destination(resources)?.faults ?? [];
  const counts = { delay: 0, abort: 0, both: 0 };
  const rounds = 20_000;
  for (let index = 0; index < rounds; index += 1) {
    const found = drawFault(faults, request("/"), NOW, random);
    if (found === undefined) continue;
    if (found.delay > 0) counts.delay += 1;
    if (found.abort !== undefined) counts.abort += 1;
    if (found.delay > 0 && found.abort !== undefined) counts.both += 1;
  }
  const near = (count: number, share: number): boolean =>
    Math.abs(count / rounds - share) < 0.015;
  t.ok(near(counts.delay, 0.2), `delay ${counts.delay}`);
  t.ok(near(counts.abort, 0.3), `abort ${counts.abort}`);
  t.ok(near(counts.both, 0.06), `both ${counts.both}`);
  t.end();
});

void t.test(
  "which requests: the port, the caller's labels, the matches",
  (t) => {
    const chaos = {
      reset: always,
      matches: [
        { path: { type: "PathPrefix", value: "/pay" } },
        { headers: [{ name: "x-chaos", value: "1" }] },
      ],
    } as const;
    t.ok(drawn([fault("shop/a", chaos)], { request: request("/pay/1") }));
    t.ok(
      drawn([fault("shop/a", chaos)], {
        request: request("/", { headers: { "x-chaos": "1" } }),
      }),
    );
    t.equal(
      drawn([fault("shop/a", chaos)], { request: request("/paying") }),
      undefined,
    );
    const admin = fault("shop/a", {
      reset: always,
      targetRefs: [{ kind: "Service", name: "orders", sectionName: "admin" }],
    });
    t.ok(drawn([admin], { port: 81 }));
    t.equal(drawn([admin]), undefined);
    const web = fault("shop/a", {
      reset: always,
      from: [{ namespace: "shop", labels: { app: "web" } }],
    });
    t.ok(drawn([web]));
    t.equal(
      drawn([web], { who: self({ labels: { app: "jobs" } }) }),
      undefined,
    );
    t.end();
  },
);

void t.test("of several the oldest that is for the request decides", (t) => {
  const resources = [
    fault("shop/young", { reset: always }, born(3)),
    fault(
      "shop/old",
      {
        delay: { fixedDelay: "1s", percentage: 100 },
        matches: [{ path: { type: "Exact", value: "/slow" } }],
      },
      born(1),
    ),
  ];
  t.match(drawn(resources, { request: request("/slow") }), {
    policy: "shop/old",
    delay: 1000,
    reset: false,
  });
  t.match(drawn(resources), { policy: "shop/young", reset: true });
  t.end();
});

void t.test(
  "none after its end by the proxy's own clock, and none whose end nobody can have meant",
  (t) => {
    const resources = [fault("shop/a", { reset: always })];
    for (const [wall, expected] of [
      [END - 1, true],
      [END, false],
      [END + 86_400_000, false],
      [END - 86_400_000, true],
      [END - 86_400_000 - 301_000, false],
    ] as const)
      t.equal(
        drawn(resources, { wall }) !== undefined,
        expected,
        `${END - wall} ms before its end`,
      );
    t.end();
  },
);
