/** `wherry explain`: decisions in order, each with its source, from files, from the control plane, and from what a sidecar has in force. */
import { join } from "node:path";
import t from "tap";
import { enrol } from "../../../src/agent/enrolment/enrol.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { openRaw } from "../../support/control-plane/raw-sidecar.ts";
import { runCli, withControlPlane } from "../../support/control-plane/cli.ts";

const EXAMPLES = join(
  import.meta.dirname,
  "..",
  "..",
  "..",
  "config",
  "examples",
);
const file = (name: string): string => join(EXAMPLES, name);

void t.test(
  "from files: every step in order, with resource, field and FILE:LINE, and why the others did not match",
  async (t) => {
    const { code, out } = await runCli([
      ...["explain", "get", "http://reviews.shop/1"],
      ...["--from", "shop/web", "-f", file("canary.yaml")],
    ]);
    t.equal(code, 0);
    const steps = [...out.matchAll(/^ {2}(\S+) +/gm)].map(([, step]) => step);
    t.strictSame(steps, [
      ...["destination", "route", "backend", "time-outs", "retries"],
      ...["balancing", "protection", "port", "mTLS", "authorization"],
      "limits",
    ]);
    t.match(
      out,
      /route +rule 1 of HTTPRoute shop\/reviews-canary\n +by HTTPRoute\/shop\/reviews-canary spec\.rules\[1\] \(\S+canary\.yaml:38\)\n +not HTTPRoute\/shop\/reviews-canary spec\.rules\[0\]\.matches\[0\] \(\S+canary\.yaml:32\): header x-user is missing, not "qa"/,
    );
    t.match(out, /90 %: reviews-v1\.shop:80\n +10 %: reviews-v2\.shop:80/);
    t.match(out, /request off, each try off \(the default\)/);
    t.match(out, /\nallowed: goes to reviews-v1\.shop:80/);
  },
);

void t.test("a header chooses the rule, and --header says it", async (t) => {
  const { out } = await runCli([
    ...["explain", "GET", "http://reviews.shop/1", "-H", "X-User: qa"],
    ...["--from", "shop/web", "-f", file("canary.yaml"), "-o", "json"],
  ]);
  t.match(JSON.parse(out), {
    decisions: [
      { step: "destination" },
      { source: { resource: "HTTPRoute/shop/reviews-canary", at: /:32$/ } },
    ],
    outcome: {
      route: "shop/reviews-canary",
      rule: 0,
      backend: "reviews-v2.shop:80",
      sent: { fields: [{ name: "x-user" }, { name: "x-canary", value: "1" }] },
    },
  });
});

void t.test("a refusal names its rule, and where it stands", async (t) => {
  const ask = (from: string[]): ReturnType<typeof runCli> =>
    runCli([
      ...["explain", "GET", "http://orders.shop/x/../admin", ...from],
      ...["-f", file("deny.yaml")],
    ]);
  const denied = (await ask(["--from", "guests/web"])).out;
  t.match(
    denied,
    /authorization +DENIED .*rule 0 of DENY shop\/orders-admin takes it\n +by AuthorizationPolicy\/shop\/orders-admin spec\.rules\[0\] \(\S+deny\.yaml:16\)/,
  );
  t.match(denied, /path: \/x\/\.\.\/admin becomes \/admin/);
  t.match(denied, /\nrefused: 403 DENIED by shop\/orders-admin\n/);
  t.match(
    (await ask(["--from", "shop/web"])).out,
    /not AuthorizationPolicy.*namespace "shop" is one that is left out/,
  );
  t.match(
    (await ask([])).out,
    /refused: 403 MTLS_REQUIRED/,
    "a caller without a sidecar",
  );
});

void t.test("what cannot be a request is said to be none", async (t) => {
  for (const [argv, said] of [
    [["GET", "https://orders.shop/"], /write http:/],
    [["G T", "http://orders.shop/"], /invalid method "G T"/],
    [["GET", "http://"], /invalid URL "http:\/\/"/],
    [["GET", "http://orders.shop../"], /invalid URL/],
    [
      ["GET", "http://orders.shop/", "-H", "host: orders.shop.."],
      /invalid host "orders\.shop\.\.": expected/,
    ],
    [["GET", "http://orders.shop/", "-H", "nothing"], /NAME: VALUE/],
    [["GET", "http://orders.shop/", "--from", "web"], /NAMESPACE\/SERVICE/],
    [["GET", "http://orders.shop/", "--at", "shop/web-1"], /one of the two/],
  ] as const) {
    const { code, err } = await runCli([
      ...["explain", ...argv, "-f", file("deny.yaml")],
    ]);
    t.equal(code, 1, argv.join(" "));
    t.match(err, said);
  }
});

const SHOP = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
  selector: { app: orders }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-1, namespace: shop, labels: { app: orders } }
spec:
  address: 10.0.0.1
  ports: { http: 8080 }
  serviceAccount: orders
  link: { port: 15008 }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
  selector: { app: web }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: web-1, namespace: shop, labels: { app: web } }
spec:
  address: 10.0.0.2
  ports: { http: 8080 }
  serviceAccount: web
  link: { port: 15008 }
`;

const redirectTo = (host: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: orders, namespace: shop }
spec:
  parentRefs: [{ kind: Service, name: orders }]
  rules:
    - filters:
        - type: RequestRedirect
          requestRedirect: { hostname: ${host} }
`;

const BY_ADDRESS = `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { authorization: { defaultAction: ALLOW }, mtls: { mode: PERMISSIVE } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: by-address, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: DENY
  rules: [{ from: [{ source: { ipBlocks: [10.0.0.0/8] } }] }]
`;

void t.test("what a rule asks of a connection is given, or open", async (t) => {
  const ask = async (...more: string[]): Promise<string> => {
    const { out, err } = await runCli(
      ["explain", "GET", "http://orders.shop/", "-f", "-", ...more],
      { input: SHOP + BY_ADDRESS },
    );
    return out + err;
  };
  const open = await ask();
  t.match(
    open,
    /\n +open AuthorizationPolicy\/shop\/by-address spec\.rules\[0\] \(<stdin>:\d+\): it depends on source\.ip, which was not given/,
  );
  t.match(
    open,
    /\nallowed: .*; it depends on source\.ip, which was not given\nnot given: source\.ip \(--from-ip\), which decides whether rule 0 of DENY shop\/by-address refuses it\n/,
  );
  const given = await ask("--from-ip", "192.0.2.1");
  t.match(given, /\nallowed: [^;]*\n$/);
  t.match(await ask("--from-ip", "::ffff:10.0.0.9"), /refused: 403 DENIED/);
  t.match(
    await ask("--from", "shop/web"),
    /DENIED[^]*the caller's address is 10\.0\.0\.2, that of Workload shop\/web-1/,
  );
  t.match(await ask("--from", "shop/other"), /it depends on source\.ip/);
  // What stands for an instance of which the files say nothing has no address.
  const [withoutWorkloads = ""] = SHOP.split("---").slice(0, 1);
  const { out } = await runCli(
    [
      ...["explain", "GET", "http://orders.shop/", "-f", "-"],
      ...["--from", "shop/orders"],
    ],
    { input: withoutWorkloads + BY_ADDRESS.replace("10.0.0.0/8", "0.0.0.0/0") },
  );
  t.match(out, /at shop\/orders-assumed; it depends on source\.ip/);
  for (const [more, message] of [
    [["--from-ip", "10.0.0.0/8"], /invalid caller's address "10\.0\.0\.0\/8"/],
    [["--from-ip", ""], /invalid caller's address ""/],
    [["--server-name", "a..b"], /invalid server name "a\.\.b"/],
    [["--server-name", "a.example"], /a request in plaintext has no TLS/],
    [["--trusted-proxy", "x"], /invalid --trusted-proxy x/],
  ] as const)
    t.match(await ask(...more), message);
});

void t.test("a policy that is out of force is warned of", async (t) => {
  const policy = (name: string): string => `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: ${name}, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: orders }], loadBalancer: { simple: RANDOM } }
`;
  const { out } = await runCli(
    ["explain", "GET", "http://orders/", "--from", "shop/web", "-f", "-"],
    { input: SHOP + policy("a") + policy("b") },
  );
  t.match(
    out,
    /balancing +RANDOM .*\n +by TrafficPolicy\/shop\/a spec\.loadBalancer \(<stdin>:\d+\)/,
  );
  t.match(out, /\nwarning: TrafficPolicy shop\/b is not in force .*older\n$/);
});

void t.test(
  "--at decides by what the sidecar acknowledged, and says when that is not the last there is",
  async (t) => {
    const running = await withControlPlane(t);
    const { cli, controlPlane, options } = running;
    const apply = (input: string): ReturnType<typeof runCli> =>
      runCli(["apply", "-f", "-", ...options], { input });
    const explain = async (...more: string[]): Promise<string> =>
      (await cli("explain", "GET", "http://orders.shop/", ...more)).out;

    t.equal((await apply(SHOP)).code, 0);
    t.match(
      await explain("--from", "shop/web"),
      /the caller's side, by what the control plane has at revision \d+\n[^]*\nallowed: goes to orders\.shop:80, at shop\/orders-1\n/,
    );

    const { out: token } = await cli(
      ...["token", "create", "-n", "shop", "--service-account", "web"],
      ...["--label", "app=web"],
    );
    const credentials = await enrol({
      address: controlPlane.pushAddress,
      token: token.trim(),
      name: "web-1",
      clock: systemClock,
      signal: new AbortController().signal,
    });
    const unknown = await cli(
      ...["explain", "GET", "http://orders.shop/", "--at", "shop/web-1"],
    );
    t.equal(unknown.code, 1);
    t.match(unknown.err, /no sidecar shop\/web-1 is connected/);

    const sidecar = openRaw(t, controlPlane.pushAddress, credentials);
    await sidecar.push();
    await t.test("in force", async (t) => {
      const until = async (said: RegExp): Promise<string> => {
        for (;;) {
          const out = await explain("--at", "shop/web-1");
          if (said.test(out)) return out;
        }
      };
      t.match(
        await until(/the last there is for it/),
        /by what is in force at shop\/web-1: revision \d+, the last/,
      );
      await apply(redirectTo("first.example"));
      await sidecar.push();
      await until(/302 to http:\/\/first\.example\//);
      await apply(redirectTo("second.example"));
      await sidecar.push("the test will not have it");
      const refused = await until(/NOT the last/);
      t.match(refused, /302 to http:\/\/first\.example\//);
      t.match(
        await explain("--from", "shop/web"),
        /302 to http:\/\/second\.example\//,
        "the control plane has the second",
      );
    });

    await t.test("the sidecar that is called", async (t) => {
      const called = async (host: string): ReturnType<typeof runCli> =>
        cli(
          ...["explain", "GET", `http://${host}/`],
          ...["--from", "shop/other", "--at", "shop/web-1"],
        );
      t.match(
        (await called("web.shop")).out,
        /the caller's side, by what the control plane has[^]*the callee's side, by what is in force at shop\/web-1: .*NOT the last/,
      );
      await cli("delete", "httproute", "orders", "-n", "shop");
      t.match(
        (await called("orders.shop")).err,
        /shop\/web-1 is not a ready instance of orders\.shop:80: the request goes to shop\/orders-1/,
      );
    });

    await t.test("a token that may not see all of it is told so", async (t) => {
      const { out } = await cli(
        ...["token", "create", "--role", "viewer"],
        ...["--for-namespace", "far", "-o", "json"],
      );
      const { token } = JSON.parse(out) as { token: string };
      const answer = await runCli(
        [
          ...["explain", "GET", "http://orders.shop/", "--at", "shop/web-1"],
          ...["--server", controlPlane.apiUrl],
        ],
        { environment: { WHERRY_TOKEN: token } },
      );
      t.equal(answer.code, 1);
      t.match(answer.err, /namespaces far/);
    });
  },
);

void t.test(
  "--at decides as with the whole mesh where the sidecar holds a part of it",
  async (t) => {
    const { cli, controlPlane, options } = await withControlPlane(t);
    await runCli(["apply", "-f", "-", ...options], { input: SHOP });
    const { out: token } = await cli(
      ...["token", "create", "-n", "shop", "--service-account", "web"],
      ...["--label", "app=web"],
    );
    const credentials = await enrol({
      address: controlPlane.pushAddress,
      token: token.trim(),
      name: "web-1",
      clock: systemClock,
      signal: new AbortController().signal,
    });
    const sidecar = openRaw(t, controlPlane.pushAddress, credentials, {
      subscribe: ["self"],
    });
    const { names, messages } = await sidecar.push();
    t.notOk(names.includes("Service/shop/orders"));
    const explain = async (url: string, ...more: string[]): Promise<string> => {
      for (;;) {
        const { out, err } = await cli("explain", "GET", url, ...more);
        if (!/has not acknowledged/.test(err)) return out;
      }
    };
    const at = ["--at", "shop/web-1"];
    const out = await explain("http://orders.shop/", ...at);
    t.match(
      out,
      /by what is in force at shop\/web-1: revision \d+, the last there is for it; it does not hold \d+ resources of this call, and would ask for them/,
    );
    t.match(out, /\nallowed: goes to orders\.shop:80, at shop\/orders-1\n/);
    const decisions = (text: string): string =>
      text.replace(/^.*side, by.*$/gm, "");
    t.equal(
      decisions(out),
      decisions(await explain("http://orders.shop/", "--from", "shop/web")),
      "as one that holds the whole mesh",
    );
    const outside = await explain("http://nowhere.example/", ...at);
    t.notMatch(outside, /does not hold/);
    t.equal(
      sidecar.received.length,
      messages,
      "the sidecar heard nothing of it",
    );
  },
);
