// What a person does in the first five minutes, against the running demo: apply a policy and see it act within a second.
import t from "tap";
import {
  call,
  closeCalls,
  eventually,
  openLoad,
  paced,
  type Called,
} from "../support/peers/call.ts";
import {
  startDemo,
  startSidecar,
  type Ran,
} from "../support/processes/demo.ts";

const IN_FORCE = 1000;
/** Calls from which a share is told. */
const CALLS = 1000;

const demo = await startDemo();
const web = demo.instance("web-1");
const outbound = `http://127.0.0.1:${web.ports.outbound}`;
const to = (
  service: string,
  path: string,
  more: { method?: string; body?: string } = {},
): Promise<Called> =>
  call(`${outbound}${path}`, { ...more, headers: { host: `${service}.shop` } });
const chaos = async (
  instances: readonly string[],
  wanted: object,
): Promise<void> => {
  for (const name of instances) {
    const set = await call(
      `http://127.0.0.1:${demo.instance(name).ports.application}/chaos`,
      { method: "POST", body: JSON.stringify(wanted) },
    );
    if (set.status !== 200) throw new Error(set.text);
  }
};
const PAYMENTS = [
  "payments-v1-1",
  "payments-v1-2",
  "payments-v2-1",
  "payments-v2-2",
];
const V2 = ["payments-v2-1", "payments-v2-2"];

t.teardown(async () => {
  closeCalls();
  await demo.stop();
});

void t.test(
  "the printed URL answers with content from four services",
  async (t) => {
    const page = await call(`${demo.file.web}/`);
    t.equal(page.status, 200);
    const body = JSON.parse(page.text) as Record<string, { servedBy?: string }>;
    t.same(Object.keys(body).sort(), ["catalog", "orders", "payments", "web"]);
    for (const [service, part] of Object.entries(body))
      t.match(part.servedBy, new RegExp(`^${service}`));
    t.match(demo.output, demo.file.web);
    const html = await call(`${demo.file.web}/`, {
      headers: { accept: "text/html" },
    });
    t.match(html.text, "<h2>payments</h2>");
  },
);

void t.test(
  "a POST changes what a GET shows, whichever instance answers",
  async (t) => {
    const before = JSON.parse((await to("orders", "/orders")).text) as {
      count: number;
    };
    const bought = await call(`${demo.file.web}/buy`, {
      method: "POST",
      body: JSON.stringify({ product: "lamp" }),
    });
    t.equal(bought.status, 201, bought.text);
    for (let index = 0; index < 6; index += 1) {
      const after = JSON.parse((await to("orders", "/orders")).text) as {
        count: number;
      };
      t.equal(after.count, before.count + 1);
    }
  },
);

void t.test(
  "a DENY gives 403 with its name in x-wherry-reason, the access log and the span; its deletion restores service",
  async (t) => {
    await demo.must("apply", "-f", "config/try/deny.yaml");
    const denied = await eventually(
      "the DENY is in force",
      IN_FORCE,
      () => to("orders", "/orders"),
      ({ status }) => status === 403,
    );
    t.equal(denied.headers["x-wherry-reason"], "DENIED; policy=shop/no-orders");
    const page = await call(`${demo.file.web}/`);
    t.equal(page.status, 502);
    t.match(page.text, "DENIED; policy=shop/no-orders");
    const logged = await eventually(
      "the refusal is logged",
      5000,
      async () =>
        `${await demo.log("orders-1/sidecar")}${await demo.log("orders-2/sidecar")}`,
      (text) => text.includes("shop/no-orders"),
    );
    const line =
      logged
        .split("\n")
        .find((each) => each.includes('"policy":"shop/no-orders"')) ?? "{}";
    t.match(JSON.parse(line), {
      status: 403,
      reason: "DENIED",
      policy: "shop/no-orders",
      peer: "spiffe://cluster.local/ns/shop/sa/web",
    });
    const { traceId } = JSON.parse(line) as { traceId: string };
    const spans = await eventually(
      "the refusal is on the span",
      10_000,
      async () =>
        JSON.parse(
          (await call(`${demo.file.control}/traces/${traceId}`)).text,
        ) as { service: string; attributes: Record<string, unknown> }[],
      (found) =>
        Array.isArray(found) && found.some((span) => span.service === "orders"),
    );
    t.match(spans.find((span) => span.service === "orders")?.attributes, {
      "wherry.reason": "DENIED",
      "wherry.policy": "shop/no-orders",
    });
    await demo.must("delete", "-f", "config/try/deny.yaml");
    await eventually(
      "service is restored",
      IN_FORCE,
      () => to("orders", "/orders"),
      ({ status }) => status === 200,
    );
  },
);

void t.test(
  `a 90/10 split over ${CALLS} calls is within three standard deviations`,
  async (t) => {
    await demo.must("apply", "-f", "config/try/split.yaml");
    await eventually(
      "the route is in force",
      IN_FORCE,
      () => demo.must("get", "httproute", "payments", "-n", "shop"),
      (text) => /in force at (\d+) of \1 /.test(text),
    );
    const draw = async (): Promise<number> => {
      const calls = await paced(CALLS, 500, () =>
        to("payments", "/quote?amount=100"),
      );
      t.ok(
        calls.every(({ status }) => status === 200),
        "every call succeeds",
      );
      return calls.filter(({ text }) => text.includes('"version": "v2"'))
        .length;
    };
    const far = (drawn: number): boolean =>
      Math.abs(drawn - CALLS * 0.1) > 3 * Math.sqrt(CALLS * 0.1 * 0.9);
    // A fair draw lies outside three deviations once in 370 times: then a second one decides.
    const first = await draw();
    const drawn = far(first) ? await draw() : first;
    t.notOk(far(drawn), `${drawn} of ${CALLS} went to v2`);
  },
);

void t.test(
  "a request time-out of 100 ms on a slow backend gives 504, and says so",
  async (t) => {
    await chaos(["catalog-1", "catalog-2"], { delayMs: 2000 });
    await demo.must("apply", "-f", "config/try/timeout.yaml");
    await eventually(
      "the time-out is in force",
      IN_FORCE + 2000,
      () => to("catalog", "/products"),
      ({ status }) => status === 504,
    );
    for (let index = 0; index < 9; index += 1) {
      const timed = await to("catalog", "/products");
      t.equal(timed.status, 504);
      t.match(timed.headers["x-wherry-reason"], /^REQUEST_TIMEOUT/);
    }
    await chaos(["catalog-1", "catalog-2"], {});
    await demo.must("delete", "-f", "config/try/timeout.yaml");
  },
);

void t.test(
  "retries mend 30 % of 503 for GETs, and repeat no POST",
  async (t) => {
    const seenPosts = async (): Promise<number> => {
      let posts = 0;
      for (const name of PAYMENTS) {
        const state = JSON.parse(
          (
            await call(
              `http://127.0.0.1:${demo.instance(name).ports.application}/chaos`,
            )
          ).text,
        ) as { seen: Record<string, number> };
        posts += state.seen["POST"] ?? 0;
      }
      return posts;
    };
    const evenly = (retry: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: payments, namespace: shop}
spec:
  parentRefs: [{group: mesh.wherry.dev, kind: Service, name: payments}]
  rules: [{backendRefs: [{name: payments-v1, port: 80, weight: 50}, {name: payments-v2, port: 80, weight: 50}]${retry}}]
`;
    const inForce = (): Promise<string> =>
      eventually(
        "the route is in force",
        IN_FORCE,
        () => demo.must("get", "httproute", "payments", "-n", "shop"),
        (text) => /in force at (\d+) of \1 /.test(text),
      );
    await chaos(V2, { failPercent: 30 });
    t.equal((await demo.apply(evenly(""))).code, 0);
    await inForce();
    const without = await paced(CALLS, 200, () => to("payments", "/quote"));
    const succeeded = (calls: readonly Called[]): number =>
      calls.filter(({ status }) => status === 200).length / calls.length;
    t.ok(
      succeeded(without) < 0.9,
      `${(100 * succeeded(without)).toFixed(1)} % without retries`,
    );

    t.equal(
      (await demo.apply(evenly(", retry: {codes: [503], attempts: 3}"))).code,
      0,
    );
    await inForce();
    const before = await seenPosts();
    const posts: Promise<Called>[] = [];
    const gets = await paced(CALLS, 180, (index) => {
      if (index % 10 === 0)
        posts.push(
          to("payments", "/payments", {
            method: "POST",
            body: JSON.stringify({ amount: 100 }),
          }),
        );
      return to("payments", "/quote");
    });
    t.ok(
      succeeded(gets) >= 0.99,
      `${(100 * succeeded(gets)).toFixed(2)} % with retries`,
    );
    const sent = await Promise.all(posts);
    t.ok(
      sent.some(({ status }) => status === 503),
      "POSTs did meet failures",
    );
    t.equal(
      await seenPosts(),
      before + sent.length,
      "each POST reached one server once",
    );
    await chaos(V2, {});
    await demo.must("delete", "httproute", "payments", "-n", "shop");
  },
);

void t.test(
  "with every payments instance dead, calls fail without an attempt once the breaker is open, and recover within one reset time",
  async (t) => {
    for (const name of PAYMENTS) await demo.must("demo", "kill", name);
    const load = openLoad(100, () => to("payments", "/quote"));
    const open = await eventually(
      "the breaker is open",
      15_000,
      () => to("payments", "/quote"),
      ({ headers }) =>
        String(headers["x-wherry-reason"]).startsWith("BREAKER_OPEN"),
    );
    t.equal(open.status, 503);
    let untried = 0;
    for (let index = 0; index < 50; index += 1) {
      const failed = await to("payments", "/quote");
      t.equal(failed.status, 503);
      const reason = String(failed.headers["x-wherry-reason"]);
      if (reason.startsWith("BREAKER_OPEN")) untried += 1;
    }
    // One probe in a reset time may try a connection for real.
    t.ok(untried >= 45, `${untried} of 50 were refused by the breaker`);
    for (const name of PAYMENTS) await demo.must("demo", "start", name);
    for (const name of PAYMENTS) {
      await eventually(
        `${name} is back`,
        20_000,
        () =>
          call(
            `http://127.0.0.1:${demo.instance(name).ports.metrics}/readyz?application`,
          ),
        ({ status }) => status === 200,
      );
    }
    await eventually(
      "service is back within one reset time",
      5000,
      () => to("payments", "/quote"),
      ({ status }) => status === 200,
    );
    await load.stop();
  },
);

void t.test(
  "bad YAML is refused with field path and file:line:column, and nothing is changed",
  async (t) => {
    const before = await demo
      .must("get", "trafficpolicy", "-n", "shop", "-o", "json")
      .catch((error: unknown) => String(error));
    const cases: [string, string, RegExp][] = [
      [
        "an unknown field",
        "spec: {targetRefs: [{kind: Service, name: orders}], outlierDetction: {}}",
        /<stdin>:\d+:\d+: .*outlierDetction/,
      ],
      [
        "a wrong type",
        "spec: {targetRefs: [{kind: Service, name: orders}], circuitBreaker: {volumeThreshold: many}}",
        /<stdin>:\d+:\d+: .*spec\.circuitBreaker\.volumeThreshold/,
      ],
      [
        "an impossible reference",
        "spec: {targetRefs: [{kind: Service, name: orders, sectionName: nope}]}",
        /<stdin>:\d+:\d+: .*spec\.targetRefs\[0\]\.sectionName/,
      ],
    ];
    for (const [what, spec, expected] of cases) {
      const yaml = `apiVersion: mesh.wherry.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: bad, namespace: shop}\n${spec}\n`;
      const ran = await demo.apply(yaml);
      t.equal(ran.code, 1, what);
      t.match(ran.stderr, expected, what);
    }
    t.equal(
      await demo
        .must("get", "trafficpolicy", "-n", "shop", "-o", "json")
        .catch((error: unknown) => String(error)),
      before,
    );
  },
);

void t.test(
  "a config that a sidecar cannot take is refused whole, shown with the reason, and the old one serves",
  async (t) => {
    const token = (
      await demo.must(
        "token",
        "create",
        "-n",
        "shop",
        "--service-account",
        "small",
        "--label",
        "app=small",
      )
    ).trim();
    const push = new URL(demo.file.push).host;
    const small = await startSidecar([
      "--control-plane",
      push,
      "--token",
      token,
      "--name",
      "small-1",
      "--max-config-bytes",
      "40000",
    ]);
    t.teardown(() => small.stop());
    const through = (): Promise<Called> =>
      call(`http://127.0.0.1:${small.outbound}/products`, {
        headers: { host: "catalog.shop" },
      });
    await eventually(
      "the small sidecar serves",
      20_000,
      through,
      ({ status }) => status === 200,
    );

    const large = (size: number): Promise<Ran> =>
      demo.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: large, namespace: shop, annotations: {padding: "${"x".repeat(size)}"}}
spec:
  parentRefs: [{group: mesh.wherry.dev, kind: Service, name: catalog}]
  rules: [{timeouts: {request: 5s}, backendRefs: [{name: catalog, port: 80}]}]
`);
    t.equal((await large(60_000)).code, 0);
    const status = await eventually(
      "the refusal is shown",
      5000,
      () => demo.must("status"),
      (text) => text.includes("shop/small-1 refused revision"),
    );
    t.match(status, /40000|40,000/, "with the reason");
    t.equal((await through()).status, 200, "the old config serves");
    t.match(
      await demo.must("describe", "httproute", "large", "-n", "shop"),
      /in force at 1 of 2/,
    );
    t.equal((await large(10)).code, 0);
    await eventually(
      "a smaller one is taken",
      5000,
      () => demo.must("status"),
      (text) => !text.includes("refused revision"),
    );
    await demo.must("delete", "httproute", "large", "-n", "shop");
  },
);

void t.test(
  "wherry trace draws a call as a tree, and status shows every sidecar",
  async (t) => {
    await call(`${demo.file.web}/`);
    const tree = await eventually(
      "a trace of four services",
      10_000,
      () => demo.must("trace"),
      (text) =>
        ["web", "catalog", "orders", "payments"].every((service) =>
          text.includes(service),
        ),
    );
    t.match(tree, /└ /);
    const status = await demo.must("status");
    for (const { name } of demo.file.instances) t.match(status, `shop/${name}`);
    t.match(status, /acknowledged/);
  },
);
