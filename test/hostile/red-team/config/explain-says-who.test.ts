/** `wherry explain` says of each value who set it: "(the default)" of what a TrafficPolicy sets sends whoever looks for a fault to the wrong place. */
import t from "tap";
import { runCli } from "../../../support/control-plane/cli.ts";

const FILE = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec: { ports: [{ name: http, port: 80 }], selector: { app: orders } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: whole, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  loadBalancer: { simple: PEAK_EWMA }
  circuitBreaker: { errorThresholdPercent: 50, volumeThreshold: 100, window: 10s }
  outlierDetection: { consecutive5xxErrors: 5 }
  connectionPool: { tcp: { connectTimeout: 7s }, http: { http2MaxRequests: 1024 } }
  retryConstraint: { budget: { percent: 20 } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: port, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders, sectionName: http }]
  healthCheck: { path: /healthz }
`;

/** Words of a line, and whose it is. */
const LINES: readonly (readonly [RegExp, RegExp])[] = [
  [/PEAK_EWMA among/, /TrafficPolicy\/shop\/whole spec\.loadBalancer/],
  [/the breaker opens at/, /TrafficPolicy\/shop\/whole spec\.circuitBreaker/],
  [
    /an endpoint is ejected/,
    /TrafficPolicy\/shop\/whole spec\.outlierDetection/,
  ],
  [/requests at once/, /TrafficPolicy\/shop\/whole spec\.connectionPool/],
  [/connecting 7s/, /TrafficPolicy\/shop\/whole spec\.connectionPool/],
  [/within 20 %/, /TrafficPolicy\/shop\/whole spec\.retryConstraint/],
];

void t.test(
  "what a policy of the Service sets beside one of its port",
  async (t) => {
    const { code, out } = await runCli(
      [
        "explain",
        "GET",
        "http://orders.shop/",
        "--from",
        "shop/web",
        "-f",
        "-",
      ],
      { input: FILE },
    );
    t.equal(code, 0, out);
    const lines = out.split("\n");
    let wrong = 0;
    for (const [words, whose] of LINES) {
      const at = lines.findIndex((line) => words.test(line));
      const line = lines[at] ?? "";
      // The source of a decision is on its line or on the next.
      const said = `${line}\n${lines[at + 1] ?? ""}`;
      const right = whose.test(said) && !/^[^\n]*\(the default\)/.test(line);
      if (!right) wrong += 1;
      t.ok(right, `${String(words)}: ${line.trim()}`);
    }
    t.comment(
      `values of a TrafficPolicy that explain gave to nobody or to the defaults: ${wrong} of ${LINES.length}`,
    );
  },
);
