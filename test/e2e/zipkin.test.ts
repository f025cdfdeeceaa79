// A real Zipkin, and two sidecars whose applications copy B3 alone, as Zipkin's libraries do: one trace by its query API.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { request as httpRequest, type RequestListener } from "node:http";
import t, { type Test } from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import { cleanEnvironment } from "../support/processes/demo.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";
import { findTool, needs } from "../support/processes/tools.ts";

interface ZipkinSpan {
  readonly id: string;
  readonly parentId?: string;
  readonly kind: string;
  readonly debug?: boolean;
  readonly localEndpoint: { readonly serviceName: string };
  readonly tags: Readonly<Record<string, string>>;
}

const jar = findTool("zipkin.jar");
const java = findTool("java");

/** Its base address, until the test ends. */
async function startZipkin(t: Pick<Test, "teardown">): Promise<string> {
  const port = await freePort();
  const child = spawn(
    java ?? "java",
    [
      // For a short life: compiled once and quickly, collected by one thread.
      ...["-Xmx192m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
      "-jar",
      jar ?? "zipkin.jar",
      ...["address=127.0.0.1", `port=${port}`, "protocols[0]=http"].map(
        (setting) => `--armeria.ports[0].${setting}`,
      ),
    ],
    {
      stdio: "ignore",
      env: cleanEnvironment({ STORAGE_TYPE: "mem" }),
    },
  );
  t.teardown(
    () =>
      new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
        child.kill("SIGKILL");
      }),
  );
  const base = `http://127.0.0.1:${port}`;
  await eventually(
    "Zipkin responds",
    120_000,
    () => call(`${base}/health`),
    ({ status }) => status === 200,
  );
  return base;
}

/** Calls `next`, if there is any, with the B3 fields that came. */
const copying =
  (
    next: () =>
      | { readonly outbound: number; readonly port: number }
      | undefined,
  ): RequestListener =>
  (request, response) => {
    const to = next();
    if (to === undefined) {
      response.end();
      return;
    }
    const copied = Object.fromEntries(
      Object.entries(request.headers).filter(
        ([name]) => name === "b3" || name.startsWith("x-b3-"),
      ),
    );
    httpRequest({
      host: "127.0.0.1",
      port: to.outbound,
      headers: { ...copied, host: `127.0.0.1:${to.port}` },
      agent: false,
    })
      .on("response", (answer) => {
        answer.resume();
        answer.on("end", () => response.end());
      })
      .on("error", () => response.writeHead(502).end())
      .end();
  };

void t.test(
  "Zipkin shows one trace of two services by B3",
  needs([
    ...(jar === undefined ? ["zipkin.jar"] : []),
    ...(java === undefined ? ["java"] : []),
  ]),
  async (t) => {
    const zipkin = await startZipkin(t);
    t.teardown(() => closeCalls());
    const args = ["--zipkin-endpoint", `${zipkin}/api/v2/spans`];
    const back = await startLoneSidecar(
      copying(() => undefined),
      args,
    );
    t.teardown(() => back.stop());
    const front = await startLoneSidecar(
      copying(() => ({ outbound: front.outbound, port: back.published })),
      args,
    );
    t.teardown(() => front.stop());
    for (const multi of [false, true]) {
      const traceId = randomBytes(16).toString("hex");
      const root = "00f067aa0ba902b7";
      const { status } = await call(`http://127.0.0.1:${front.published}/`, {
        headers: multi
          ? {
              "x-b3-traceid": traceId,
              "x-b3-spanid": root,
              "x-b3-flags": "1",
            }
          : { b3: `${traceId}-${root}-1` },
      });
      t.equal(status, 200);
      const spans = await eventually(
        "the trace is in Zipkin",
        30_000,
        async () => {
          const { status, text } = await call(
            `${zipkin}/api/v2/trace/${traceId}`,
          );
          return status === 200 ? (JSON.parse(text) as ZipkinSpan[]) : [];
        },
        (found) => found.length >= 6,
      );
      const chain: ZipkinSpan[] = [];
      for (let parent = root; chain.length < spans.length;) {
        const next = spans.find(({ parentId }) => parentId === parent);
        if (next === undefined) break;
        chain.push(next);
        parent = next.id;
      }
      t.same(
        chain.map(({ kind }) => kind),
        ["SERVER", "CLIENT", "SERVER", "CLIENT", "SERVER", "CLIENT"],
        "each under the one before",
      );
      for (const span of chain) {
        t.equal(span.localEndpoint.serviceName, "orders");
        t.equal(span.tags["http.response.status_code"], "200");
        t.equal(span.debug === true, multi);
      }
    }
  },
);
