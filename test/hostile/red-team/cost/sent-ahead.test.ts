/** Requests for a page that anybody may see, sent ahead by the thousand in one write, at the API, at a sidecar's metrics port and at the demo's: one is served, and the connection ends. */
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { localToken } from "../../../../src/core/local/local-token.ts";
import { startControl } from "../../../../src/demo/control.ts";
import { makeTraceStore } from "../../../../src/demo/trace-store.ts";
import { startSidecar } from "../../../../src/sidecar/sidecar.ts";
import { withControlPlane } from "../../../support/control-plane/cli.ts";
import { memoryAgent } from "../../../support/meshes/pair.ts";

const AHEAD = 1000;

/** How many responses come before the other side closes; a minute at most. */
function responses(port: number, path: string): Promise<number> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () =>
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`.repeat(AHEAD),
      ),
    );
    const count = (): number => received.split("HTTP/1.1 200 ").length - 1;
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      // All of them came: it will not close.
      if (count() === AHEAD) socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(count()));
  });
}

void t.test("the API", async (t) => {
  const { controlPlane } = await withControlPlane(t);
  const port = Number(new URL(controlPlane.apiUrl).port);
  for (const page of ["/openapi.json", "/readyz"])
    t.equal(await responses(port, page), 1, page);
});

void t.test("a sidecar's pages", async (t) => {
  const sidecar = await startSidecar({
    agent: () => Promise.resolve(memoryAgent(undefined, undefined)),
    host: "127.0.0.1",
    metricsHost: "127.0.0.1",
    ports: { admin: 0, metrics: 0 },
    accessLog: "none",
  });
  t.teardown(() => sidecar.destroy());
  const { admin = 0, metrics = 0 } = sidecar.ports;
  t.equal(await responses(metrics, "/metrics"), 1);
  t.equal(await responses(admin, "/stats"), 1);
});

void t.test("the demo's traces", async (t) => {
  const control = await startControl({
    clock: systemClock,
    port: 0,
    traces: makeTraceStore({ maxTraces: 10 }),
    processes: new Map(),
    forwardTo: undefined,
    token: localToken("demo.token", "lever"),
  });
  t.teardown(() => control.close());
  const { port } = control.server.address() as AddressInfo;
  t.equal(await responses(port, "/traces"), 1);
});
