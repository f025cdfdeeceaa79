/** `wherry test`: a table of requests against files, for people's CI. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { runCli, type Ran } from "../support/control-plane/cli.ts";

const SHOP = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
  selector: { app: orders }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders-v2, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
  selector: { app: orders, version: v2 }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: orders, namespace: shop }
spec:
  parentRefs: [{ kind: Service, name: orders }]
  rules:
    - name: split
      matches: [{ path: { value: /split } }]
      backendRefs:
        - { name: orders, port: 80, weight: 3 }
        - { name: orders-v2, port: 80, weight: 1 }
    - matches: [{ path: { value: /moved } }]
      filters:
        - type: RequestRedirect
          requestRedirect: { hostname: new.example, statusCode: 308 }
    - matches: [{ path: { value: /v1 } }]
      filters:
        - type: URLRewrite
          urlRewrite:
            path: { type: ReplacePrefixMatch, replacePrefixMatch: / }
      backendRefs: [{ name: orders, port: 80 }]
      timeouts: { request: 2s, backendRequest: 500ms }
      retry: { attempts: 3 }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: v2-readers, namespace: shop }
spec:
  selector: { matchLabels: { version: v2 } }
  rules: [{ to: [{ operation: { methods: [GET] } }] }]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: FaultInjection
metadata: { name: teapot, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  matches: [{ path: { value: /v1/fault } }]
  abort: { httpStatus: 418, percentage: 100 }
  expiresAt: "2026-03-01T12:00:00Z"
`;

function runOn(
  t: Test,
  tests: string,
  {
    output = "text",
    more = "",
  }: { readonly output?: string; readonly more?: string } = {},
): Promise<Ran> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-test-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "shop.yaml"), SHOP + more);
  const file = join(folder, "tests.yml");
  writeFileSync(file, tests);
  return runCli(["test", file, "--output", output]);
}

const table = (rows: string): string =>
  `resources: ["*.yaml"]\nnow: "2026-03-01T11:00:00Z"\ntests:\n${rows}`;

void t.test("every fact can be expected", async (t) => {
  const { code, out, err } = await runOn(
    t,
    table(`
  - request: { url: "http://orders.shop/split", from: shop/web }
    expect:
      allowed: true
      route: shop/orders
      rule: split
      backend: { "orders.shop:80": 75, "orders-v2.shop:80": 25 }
      retries: 1
      timeout: 0s
  - request: { url: "http://orders.shop/moved/a?b", from: shop/web }
    expect: { rule: 1, status: 308, location: "http://new.example/moved/a?b" }
  - request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { path: /a, backend: "orders.shop:80", retries: 3, timeout: 2s, backendTimeout: 500ms }
  - request: { url: "http://orders-v2.shop/", from: shop/web }
    expect: { allowed: true, by: shop/v2-readers }
  - request: { method: POST, url: "http://orders-v2.shop/", from: shop/web }
    expect: { allowed: false, by: NOT_ALLOWED, reason: NOT_ALLOWED, status: 403 }
  - request: { url: "http://orders.shop/v1/fault", from: shop/web }
    expect: { allowed: false, by: shop/teapot, reason: FAULT_INJECTED, status: 418 }
  - request: { url: "http://orders.shop/nowhere", from: shop/web }
    expect: { reason: NO_ROUTE, status: 404 }
  - request: { method: POST, url: "http://orders-v2.shop/a.B/c", headers: { content-type: application/grpc }, from: shop/web }
    expect: { allowed: false, status: 200, grpcStatus: 7 }
  - request: { method: CONNECT, url: "orders-v2.shop:80", from: shop/web }
    expect: { allowed: false, reason: TUNNEL_REFUSED, status: 405 }
  - request: { url: "http://orders.shop/v1/a", headers: { x-a: ["1", "2"] }, from: shop/web }
    expect: { headers: { X-A: "1, 2", x-b: null } }
`),
  );
  t.equal(err, "");
  t.match(out, /\n10 passed, 0 failed\n$/);
  t.equal(code, 0);
});

void t.test("a header field that is not sent can be expected", async (t) => {
  const { code, out } = await runOn(
    t,
    table(`
  - name: sent
    request: { url: "http://orders.shop/v1/a", headers: { x-a: none }, from: shop/web }
    expect: { headers: { X-A: null } }
  - name: not sent
    request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { headers: { X-A: none } }
  - name: no request
    request: { url: "http://orders.shop/nowhere", from: shop/web }
    expect: { headers: { X-A: null } }
`),
    { output: "json" },
  );
  t.equal(code, 1);
  const field = "headers.X-A";
  t.match(JSON.parse(out), {
    tests: [
      { differences: [{ field, expected: "none", actual: '"none"' }] },
      { differences: [{ field, expected: '"none"', actual: "none" }] },
      { differences: [{ field, actual: "no request is sent" }] },
    ],
  });
});

const TRIALS = `
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: tried, namespace: shop, annotations: { istio.io/dry-run: "true" } }
spec:
  action: DENY
  selector: { matchLabels: { app: orders } }
  rules: [{ to: [{ operation: { paths: [/a] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: log, namespace: shop }
spec:
  action: AUDIT
  rules: [{}]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-1, namespace: shop, labels: { app: orders } }
spec:
  address: 10.0.0.1
  ports: { http: 8080 }
  link: { port: 15008 }
  serviceAccount: orders
`;

void t.test("what policies would do that change no verdict", async (t) => {
  const { code, out } = await runOn(
    t,
    table(`
  - request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { allowed: true, shadow: { shop/tried: refused, shop/log: matched } }
  - request: { url: "http://orders.shop/split", from: shop/web }
    expect: { allowed: true, shadow: { shop/tried: none } }
  - name: wrong
    request: { url: "http://orders.shop/split", from: shop/web }
    expect: { shadow: { shop/tried: refused } }
`),
    { more: TRIALS },
  );
  t.match(out, /dry run: rule 0 of shop\/tried would refuse it/);
  t.match(out, /audit: rule 0 of shop\/log matches it/);
  t.match(
    out,
    /- shadow\.shop\/tried {2}refused\n.*\+ shadow\.shop\/tried {2}none/,
  );
  t.match(out, /2 passed, 1 failed\n$/);
  t.equal(code, 1);
});

void t.test(
  "a failure is a diff with the decisions behind it, and exit code 1",
  async (t) => {
    const { code, out } = await runOn(
      t,
      table(`
  - name: writes
    request: { method: POST, url: "http://orders-v2.shop/", from: shop/web }
    expect: { allowed: true }
  - name: reads
    request: { url: "http://orders-v2.shop/", from: shop/web }
    expect: { allowed: true }
`),
    );
    t.equal(code, 1);
    const [, ...lines] = out.split("\n");
    t.equal(
      lines[0],
      "  ✗ writes  refused: 403 NOT_ALLOWED by shop/v2-readers",
    );
    t.match(lines[1], /POST http:\/\/orders-v2.shop\/ from shop\/web \(.*:5\)/);
    t.strictSame(lines.slice(2, 5), [
      "      expected (-) and decided (+):",
      "      - allowed  true",
      "      + allowed  false",
    ]);
    t.match(
      out,
      /authorization +NOT_ALLOWED .*\n.*by AuthorizationPolicy\/shop\/v2-readers \(\S*shop\.yaml:\d+\)\n.*not AuthorizationPolicy\/shop\/v2-readers spec\.rules\[0\].*: to\[0\]: method "POST" is not among GET/,
    );
    t.match(out, /\n {2}✓ reads {3}allowed: goes to orders-v2.shop:80/);
    t.match(out, /\n1 passed, 1 failed\n$/);
    t.notMatch(out, /\u001b/, "no colours where nobody watches");
  },
);

void t.test(
  "what is allowed on one share and refused on another is not allowed",
  async (t) => {
    const { code, out } = await runOn(
      t,
      table(`
  - request: { method: POST, url: "http://orders.shop/split", from: shop/web }
    expect: { allowed: true }
`),
    );
    t.equal(code, 1);
    t.match(
      out,
      /otherwise on orders\.shop:80, at shop\/orders-v2-assumed: refused: 403 NOT_ALLOWED by shop\/v2-readers/,
    );
  },
);

void t.test(
  "an instance that is named is asked, on the share that leads to it",
  async (t) => {
    const workloads = ["v1", "v2"].map(
      (version) => `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-${version}, namespace: shop, labels: { app: orders, version: ${version} } }
spec: { address: 10.0.0.1, ports: { http: 8080 }, link: { port: 15008 } }
`,
    );
    const rows = (workload: string, allowed: boolean): string =>
      table(`
  - request: { method: POST, url: "http://orders.shop/split", from: shop/web, workload: ${workload} }
    expect: { allowed: ${allowed} }
`);
    for (const [workload, allowed] of [
      ["shop/orders-v1", true],
      ["shop/orders-v2", false],
    ] as const) {
      const { code, out } = await runOn(t, rows(workload, allowed), {
        more: workloads.join(""),
      });
      t.equal(code, 0, out);
    }
  },
);

void t.test("JSON and JUnit say the same", async (t) => {
  const rows = table(`
  - name: a <good> one
    request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { retries: 3 }
  - name: a "bad" one
    request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { retries: 4, timeout: 1s }
  - name: "one with \\u0001 and \\uFFFF"
    request: { url: "http://orders.shop/v1/a", from: shop/web }
    expect: { retries: 3 }
`);
  const json = await runOn(t, rows, { output: "json" });
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), {
    passed: 2,
    failed: 1,
    tests: [
      { name: "a <good> one", passed: true, line: 5 },
      {
        name: 'a "bad" one',
        passed: false,
        differences: [
          { field: "retries", expected: "4", actual: "3" },
          { field: "timeout", expected: "1s", actual: "2s" },
        ],
        outcome: { retries: 3 },
      },
    ],
  });
  const junit = await runOn(t, rows, { output: "junit" });
  t.equal(junit.code, 1);
  t.match(junit.out, /^<\?xml version="1.0" encoding="UTF-8"\?>\n<testsuites /);
  t.match(junit.out, /tests="3" failures="1"/);
  t.match(junit.out, /name="one with \ufffd and \ufffd"/, "no XML holds these");
  t.match(junit.out, /name="a &lt;good&gt; one" file="[^"]+" line="5"\/>/);
  t.match(
    junit.out,
    /name="a &quot;bad&quot; one"[^>]*>\s*<failure message="retries: expected 4, got 3; timeout: expected 1s, got 2s">/,
  );
});

void t.test(
  "a file that cannot be used is told with FILE:LINE:COLUMN, and ends with 2",
  async (t) => {
    const request = '{ url: "http://orders.shop/", from: shop/web }';
    for (const [tests, said] of [
      [
        table(`  - request: ${request}\n    expect: { alowed: true }\n`),
        /tests\.yml:5:15: tests\[0\]\.expect\.alowed: unknown field "alowed" \(did you mean "allowed"\?\)/,
      ],
      [
        table(`  - request: ${request}\n    expect: {}\n`),
        /tests\.yml:5:13: tests\[0\]\.expect: is empty/,
      ],
      [
        table(`  - request: { url: 7 }\n    expect: { retries: 1 }\n`),
        /tests\.yml:4:21: tests\[0\]\.request\.url: must be text/,
      ],
      ["tests: [", /tests\.yml:1:9: /],
      [
        table(`  - request: ${request}\n    expect: { retries: 1 }\n`).replace(
          "2026-03",
          "2026-13",
        ),
        /tests\.yml:2:6: now: is a date that the calendar does not have/,
      ],
      [
        table(`  - request: ${request}\n    expect: { headers: { x-a: 1 } }\n`),
        /tests\.yml:5:31: tests\[0\]\.expect\.headers\.x-a: must be text, or null for a field that is not sent, not the number 1\n/,
      ],
      [
        table("").replace("*.yaml", "*.nothing") +
          `  - request: ${request}\n    expect: { retries: 1 }\n`,
        /no file matches "\*\.nothing"/,
      ],
      [
        table(
          `  - request: { url: "https://orders.shop/" }\n    expect: { retries: 1 }\n`,
        ),
        /tests\.yml:4: .*write http/,
      ],
      [
        table(
          `  - request: { url: "http://orders.shop/", workload: shop/x }\n    expect: { retries: 1 }\n`,
        ),
        /no Workload shop\/x/,
      ],
    ] as const) {
      const { code, err, out } = await runOn(t, tests);
      t.match(err, said);
      t.equal(code, 2);
      t.equal(out, "");
    }
  },
);
