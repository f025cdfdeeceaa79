/** An error of this machine is no evidence against a peer: no ejection, no open breaker, nothing of the retry budget; the call says whose fault it was, or goes elsewhere. */
import t, { type Test } from "tap";
import { failConnects } from "../../support/faults/connect-faults.ts";
import { clusterOf } from "../../support/meshes/cluster-view.ts";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";

interface Row {
  readonly code: string;
  /** Whose fault it is. */
  readonly ours: boolean;
}

/** The last shows that the test would see a word against the endpoint. */
const ROWS: readonly Row[] = [
  ...["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EAGAIN"].map(
    (code) => ({ code, ours: true }),
  ),
  { code: "ECONNREFUSED", ours: false },
];

/** Each call makes a connection of its own, and one failure is enough for whatever may come of it. */
function touchy(more: object = {}): ReturnType<typeof resource> {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    loadBalancer: { simple: "ROUND_ROBIN" },
    connectionPool: { http: { maxRequestsPerConnection: 1 } },
    outlierDetection: {
      consecutive5xxErrors: 1,
      consecutiveLocalOriginFailures: 1,
      maxEjectionPercent: 100,
    },
    circuitBreaker: { volumeThreshold: 1, errorThresholdPercent: 1 },
    ...more,
  });
}

const NO_RETRY = { defaults: { retry: { attempts: 0 } } };

async function portsOf(pair: Pair, plaintext: boolean): Promise<number[]> {
  await pair.call();
  return pair.instances.map(({ appPort, sidecar }) =>
    plaintext ? appPort : (sidecar?.ports.link ?? 0),
  );
}

async function judges(
  t: Test,
  pair: Pair,
  ports: readonly number[],
  { code, ours }: Row,
): Promise<void> {
  const faults = ports.map((port) => failConnects(port, code));
  const answer = await pair.call();
  for (const each of faults) each.release();
  t.equal(answer.status, 503, code);
  t.equal(answer.reason, ours ? "MACHINE_ERROR" : "CONNECT_FAILED", code);
  if (ours) t.match(answer.text, code);
  t.equal(answer.headers["retry-after"], ours ? "1" : undefined);
  const view = await clusterOf(pair);
  t.equal(view?.breaker.state, ours ? "closed" : "open", code);
  t.equal(view?.ejections.length === 0, ours, code);
  const counted = await pair.metric(
    pair.caller,
    'wherry_machine_errors_total{part="connection"',
    `error="${code}"`,
  );
  t.equal(counted > 0, ours, `${code} is counted`);
  if (ours) t.equal((await pair.call()).status, 200, "and is over");
}

for (const plaintext of [false, true])
  void t.test(
    `a dial ${plaintext ? "in plaintext" : "of the link"} that this machine fails`,
    (t) =>
      withPair(
        {
          instances: 2,
          plaintext,
          mesh: NO_RETRY,
          resources: [touchy()],
          app: () => (_request, response) => {
            response.setHeader("connection", "close");
            response.end("ok");
          },
        },
        async (pair) => {
          const ports = await portsOf(pair, plaintext);
          for (const row of ROWS) await judges(t, pair, ports, row);
        },
      ),
  );

void t.test(
  "it is tried elsewhere, and nothing of the retry budget is taken",
  (t) =>
    withPair(
      {
        instances: 2,
        resources: [
          touchy({
            retryConstraint: {
              budget: { percent: 0 },
              minRetryRate: { count: 0 },
            },
          }),
        ],
        app: (index) => (_request, response) => response.end(String(index)),
      },
      async (pair) => {
        const [first = 0] = await portsOf(pair, false);
        for (const { code, ours } of ROWS) {
          const faults = failConnects(first, code, 1);
          const texts: string[] = [];
          for (let count = 0; count < 4 && faults.failed === 0; count += 1)
            texts.push((await pair.call()).reason ?? "200");
          faults.release();
          t.equal(faults.failed, 1, code);
          t.equal(texts.at(-1), ours ? "200" : "CONNECT_FAILED", code);
        }
      },
    ),
);

void t.test(
  "a dial to the application: the machine is to blame in log and response, and another instance serves",
  (t) =>
    withPair(
      {
        instances: 2,
        resources: [touchy()],
        app: (index) => (_request, response) => {
          response.setHeader("connection", "close");
          response.end(String(index));
        },
      },
      async (pair) => {
        const [instance] = pair.instances;
        const faults = failConnects(instance?.appPort ?? 0, "EMFILE", 1);
        for (let count = 0; count < 4 && faults.failed === 0; count += 1)
          t.equal((await pair.call()).status, 200);
        faults.release();
        t.equal(faults.failed, 1);
        t.match(
          pair.log.find(
            ({ direction, status }) =>
              direction === "inbound" && status === 503,
          ),
          { reason: "MACHINE_ERROR", detail: /EMFILE/ },
        );
        const cluster = await clusterOf(pair);
        t.same(cluster?.ejections, [], "its application has done nothing");
        t.equal(cluster?.breaker.state, "closed");
      },
    ),
);
