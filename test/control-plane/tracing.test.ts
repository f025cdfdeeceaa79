/** The API's own requests as a collector sees them, and a collector that is no help. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { pino } from "pino";
import t, { type Test } from "tap";
import {
  startControlPlane,
  type ControlPlane,
} from "../../src/control-plane/control-plane.ts";
import {
  makeApiTracing,
  type ApiTracing,
} from "../../src/control-plane/tracing.ts";
import { systemClock, type Clock } from "../../src/core/clock.ts";
import { silentLogger, type Logger } from "../../src/core/log.ts";
import type { ReceivedSpan } from "../../src/demo/otlp.ts";
import {
  call,
  closeCalls,
  eventually,
  type Called,
} from "../support/peers/call.ts";
import { startCollector, type Collector } from "../support/peers/collector.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

// Batches leave at once: the SDK reads its own variables.
process.env["OTEL_BSP_SCHEDULE_DELAY"] = "1";
t.teardown(() => closeCalls());

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";
const SERVICES =
  "/apis/mesh.wherry.dev/v1alpha1/namespaces/:namespace/services";
const PROBES = ["/livez", "/readyz"];

interface Traced {
  readonly controlPlane: ControlPlane;
  readonly tracing: ApiTracing;
  readonly token: string;
  /** As the administrator. */
  readonly ask: (
    method: string,
    path: string,
    headers?: Readonly<Record<string, string>>,
    body?: unknown,
  ) => Promise<Called>;
}

async function traced(
  t: Test,
  endpoint: string,
  more: { readonly clock?: Clock; readonly logger?: Logger } = {},
): Promise<Traced> {
  const tracing = makeApiTracing({
    endpoint,
    clock: more.clock ?? systemClock,
    logger: more.logger ?? silentLogger,
  });
  const controlPlane = await startControlPlane({
    stateDirectory: join(t.testdir(), "state"),
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
    tracing,
  });
  t.teardown(async () => {
    await controlPlane.close();
    await tracing.close();
  });
  await tracing.start();
  const token = readFileSync(controlPlane.adminTokenFile, "utf8").trim();
  return {
    controlPlane,
    tracing,
    token,
    ask: (method, path, headers = {}, body) =>
      call(`${controlPlane.apiUrl}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  };
}

/** The spans once there are so many of them, by time. */
async function spansOf(
  collector: Collector,
  count: number,
): Promise<readonly ReceivedSpan[]> {
  const spans = await eventually(
    `${count} spans arrive`,
    10_000,
    () => Promise.resolve([...collector.spans]),
    ({ length }) => length >= count,
  );
  return spans.sort((one, other) => one.start - other.start);
}

/** Lines of a log, as objects. */
function recordingLogger(): {
  readonly logger: Logger;
  readonly lines: Record<string, unknown>[];
} {
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    {},
    {
      write: (line: string) =>
        void lines.push(JSON.parse(line) as Record<string, unknown>),
    },
  );
  return { logger, lines };
}

void t.test("a span says what was asked and what became of it", async (t) => {
  const collector = await startCollector(t);
  const { ask, token } = await traced(t, collector.endpoint);
  const service = {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop" },
    spec: {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: "web" },
    },
  };
  const web = SERVICES.replace(":namespace", "shop") + "/web";
  const parent = { traceparent: `00-${TRACE}-${PARENT}-01` };
  const rows: readonly {
    readonly ask: Parameters<Traced["ask"]>;
    readonly status: number;
    readonly name: string;
    readonly attributes: ReceivedSpan["attributes"];
  }[] = [
    {
      ask: ["GET", "/status", parent],
      status: 200,
      name: "GET /status",
      attributes: {
        "http.request.method": "GET",
        "http.route": "/status",
        "url.path": "/status",
      },
    },
    {
      ask: ["PUT", `${web}?dryRun=All`, {}, service],
      status: 201,
      name: `PUT ${SERVICES}/:name`,
      attributes: {
        "http.request.method": "PUT",
        "http.route": `${SERVICES}/:name`,
        "url.path": web,
      },
    },
    {
      ask: ["GET", "/store", { authorization: "Bearer wrong" }],
      status: 401,
      name: "GET /store",
      attributes: {
        "http.request.method": "GET",
        "http.route": "/store",
        "url.path": "/store",
      },
    },
    {
      ask: ["GET", "/no/such/path"],
      status: 404,
      name: "GET",
      attributes: {
        "http.request.method": "GET",
        "url.path": "/no/such/path",
      },
    },
    {
      ask: ["DELETE", "/status"],
      status: 405,
      name: "DELETE /status",
      attributes: {
        "http.request.method": "DELETE",
        "http.route": "/status",
        "url.path": "/status",
      },
    },
    {
      ask: ["PROPFIND", "/status"],
      status: 405,
      name: "HTTP",
      attributes: {
        "http.request.method": "_OTHER",
        "http.request.method_original": "PROPFIND",
        "url.path": "/status",
      },
    },
    {
      // Whoever takes a token for its id shows it to nobody but the API.
      ask: ["DELETE", `/tokens/api/${token}`],
      status: 400,
      name: "DELETE /tokens/api/:id",
      attributes: {
        "http.request.method": "DELETE",
        "http.route": "/tokens/api/:id",
        "url.path": "/tokens/api/TOKEN",
      },
    },
  ];
  for (const [index, row] of rows.entries()) {
    t.equal((await ask(...row.ask)).status, row.status, row.name);
    const [span] = (await spansOf(collector, index + 1)).slice(index);
    t.match(span, { name: row.name, kind: "server", error: undefined });
    t.strictSame(span?.attributes, {
      ...row.attributes,
      "url.scheme": "http",
      "http.response.status_code": row.status,
    });
  }
  const [first, second] = await spansOf(collector, rows.length);
  t.match(first, { traceId: TRACE, parentSpanId: PARENT });
  t.match(second, { parentSpanId: "" });
  t.not(second?.traceId, TRACE);
  t.notOk(
    JSON.stringify(collector.spans).includes(token.slice(-43)),
    "no secret is in any span",
  );
});

void t.test(
  "neither probes nor what the caller's trace does not record make spans",
  async (t) => {
    const collector = await startCollector(t);
    const { ask } = await traced(t, collector.endpoint);
    for (const probe of PROBES) t.equal((await ask("GET", probe)).status, 200);
    await ask("GET", "/status", { traceparent: `00-${TRACE}-${PARENT}-00` });
    await ask("GET", "/store");
    await spansOf(collector, 1);
    t.strictSame(
      collector.spans.map(({ name }) => name),
      ["GET /store"],
    );
  },
);

void t.test(
  "what the control plane fails at is an error, by its reason",
  async (t) => {
    const collector = await startCollector(t);
    const { ask, controlPlane } = await traced(t, collector.endpoint);
    await controlPlane.store.close();
    t.equal((await ask("GET", "/store")).status, 503);
    const [span] = await spansOf(collector, 1);
    t.match(span, {
      error: "ServiceUnavailable",
      attributes: {
        "http.response.status_code": 503,
        "error.type": "ServiceUnavailable",
      },
    });
  },
);

void t.test("a caller that goes away ends the span", async (t) => {
  const collector = await startCollector(t);
  const { controlPlane, token } = await traced(t, collector.endpoint);
  const url = new URL(controlPlane.apiUrl);
  const authorization = `Bearer ${token}`;

  const watch = request(
    `${url.origin}${SERVICES.replace(":namespace", "shop")}?watch=1`,
    {
      headers: { authorization },
      agent: false,
    },
  );
  watch.end();
  await once(watch, "response");
  watch.destroy();
  const [watched] = await spansOf(collector, 1);
  t.match(watched, {
    name: `GET ${SERVICES}`,
    error: undefined,
    attributes: { "http.response.status_code": 200 },
  });

  const socket = connect(Number(url.port), url.hostname);
  socket.write(
    `POST /tokens/enrolment HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization}\r\ncontent-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n`,
  );
  // The head has been read: only the body is missing.
  await once(socket, "data");
  socket.destroy();
  const [, broken] = await spansOf(collector, 2);
  t.match(broken, {
    name: "POST /tokens/enrolment",
    error: "CONNECTION_CLOSED",
    attributes: { "error.type": "CONNECTION_CLOSED" },
  });
  t.notOk("http.response.status_code" in (broken?.attributes ?? {}));
});

void t.test(
  "a collector that is not there is one line in the log, and its return another; the API answers throughout",
  async (t) => {
    let refuses = true;
    const collector = await startCollector(
      t,
      (response) => void response.writeHead(refuses ? 404 : 200).end(),
    );
    const { logger, lines } = recordingLogger();
    const { ask } = await traced(t, collector.endpoint, { logger });
    for (let exports = 1; exports <= 3; exports += 1) {
      t.equal((await ask("GET", "/status")).status, 200);
      await spansOf(collector, exports);
    }
    refuses = false;
    await eventually(
      "the log tells of the return",
      10_000,
      async () => {
        await ask("GET", "/status");
        return lines.length;
      },
      (count) => count >= 2,
    );
    t.match(lines, [
      {
        level: 40,
        collector: new URL(collector.endpoint).host,
        error: "Not Found",
        msg: /spans do not reach the collector.*--otlp-endpoint/,
      },
      { level: 30, msg: /again/ },
    ]);
    t.equal(lines.length, 2);
  },
);

void t.test(
  "nobody listens: every request is answered, the end is not held up, and the log has one line",
  async (t) => {
    const { logger, lines } = recordingLogger();
    const clock = fakeClock();
    const nowhere = "http://127.0.0.1:1";
    const { ask, tracing } = await traced(t, nowhere, { clock, logger });
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => ask("GET", "/status")),
    );
    t.ok(answers.every(({ status }) => status === 200));
    const closed = tracing.close();
    await eventually(
      "the rest is being sent",
      10_000,
      () => Promise.resolve(clock.pending),
      (pending) => pending > 0,
    );
    clock.advance(5000);
    await closed;
    t.equal(lines.length, 1);
    t.match(lines[0], { msg: /spans do not reach the collector/ });
    t.equal((await ask("GET", "/status")).status, 200, "and after it too");
  },
);

void t.test(
  "what is no URL is told of, and nothing else happens",
  async (t) => {
    const { logger, lines } = recordingLogger();
    const { ask } = await traced(t, "no URL", { logger });
    t.equal((await ask("GET", "/status")).status, 200);
    t.match(lines, [{ level: 50, msg: /not traced.*does not start/ }]);
  },
);
