/** `wherry control-plane --otlp-endpoint`: where spans go, and what it costs where nobody asked for them. */
import { createRequire } from "node:module";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { UserError } from "../../src/core/errors.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import { startCollector } from "../support/peers/collector.ts";
import { runCli } from "../support/control-plane/cli.ts";

// Batches leave at once: the SDK reads its own variables.
process.env["OTEL_BSP_SCHEDULE_DELAY"] = "1";

/** What has been loaded of the SDK that nobody needs who has no collector. */
function loadedSdk(): string[] {
  return Object.keys(createRequire(import.meta.url).cache).filter((file) =>
    file.includes("@opentelemetry/sdk-node/"),
  );
}

/** `wherry control-plane` in this process, until `stop` is called. */
async function command(
  t: Test,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly api: string; readonly stop: () => Promise<void> }> {
  const api = `127.0.0.1:${await freePort()}`;
  const stop = new AbortController();
  const running = runCli(
    [
      ...["control-plane", "--state", join(t.testdir(), "state")],
      ...["--store", "memory", "--log-level", "silent"],
      ...["--api", api, "--push", "127.0.0.1:0", ...args],
    ],
    { stop: stop.signal, environment },
  );
  await eventually(
    "the API answers",
    10_000,
    () => call(`http://${api}/readyz`),
    ({ status }) => status === 200,
  );
  return {
    api: `http://${api}`,
    async stop() {
      closeCalls();
      stop.abort(new UserError("stopped"));
      t.strictSame(await running, { code: 0, out: "", err: "" });
    },
  };
}

// First: once the SDK is loaded, it is.
void t.test(
  "without a collector the SDK is not even loaded, with an empty variable neither",
  async (t) => {
    for (const environment of [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: "" }]) {
      const { api, stop } = await command(t, [], environment);
      t.equal((await call(`${api}/status`)).status, 401);
      await stop();
    }
    t.strictSame(loadedSdk(), []);
  },
);

void t.test(
  "the collector is named by the option, or else by OpenTelemetry's variable",
  async (t) => {
    const named = await startCollector(t);
    const other = await startCollector(t);
    const variable = { OTEL_EXPORTER_OTLP_ENDPOINT: other.endpoint };
    const rows = [
      [["--otlp-endpoint", named.endpoint], variable, named],
      [[], variable, other],
    ] as const;
    for (const [args, environment, collector] of rows) {
      const { api, stop } = await command(t, args, environment);
      await eventually(
        "a request that came after the SDK arrives as a span",
        10_000,
        async () => {
          await call(`${api}/status`);
          return collector.spans.length;
        },
        (count) => count > 0,
      );
      await stop();
      t.match(collector.spans[0], {
        name: "GET /status",
        service: "wherry-control-plane",
      });
      t.ok(collector.paths.every((path) => path === "POST /v1/traces"));
    }
    t.ok(loadedSdk().length > 0, "what the test before looks at is real");
  },
);
