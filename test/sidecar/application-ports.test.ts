/** An application that a sidecar cannot reach, on one of its ports or on all, with a control plane, a caller and real sockets: what is called, and who is told what. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import t, { type Test } from "tap";
import { startSidecar, type Sidecar } from "../../src/sidecar/sidecar.ts";
import { LATE } from "../../src/sidecar/probe.ts";
import { send } from "../support/meshes/pair.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { runCli, withControlPlane } from "../support/control-plane/cli.ts";
import {
  serving,
  startTestAgent,
  until,
} from "../support/control-plane/push-control-plane.ts";

const MESH = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { authorization: { defaultAction: ALLOW } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80 }, { name: reports, port: 81 }]
  selector: { app: orders }
`;

async function listeningOn(
  t: Test,
  host: string,
  port = 0,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((_request, response) => response.end("served"));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return { server, port: (server.address() as AddressInfo).port };
}

/** A port of 127.0.0.1 on which nothing listens. */
async function closedPort(t: Test): Promise<number> {
  const { server, port } = await listeningOn(t, "127.0.0.1");
  server.close();
  return port;
}

interface LogLine {
  readonly port?: number;
  readonly reason?: string;
}

interface Bed {
  /** What the callee's sidecar has logged, "PORT REASON". */
  readonly lines: string[];
  readonly callee: Sidecar;
  readonly advance: (ms: number) => void;
  readonly call: (port: number) => Promise<string>;
  readonly cli: (...argv: string[]) => Promise<string>;
}

async function startBed(
  t: Test,
  ports: Readonly<Record<string, number>>,
): Promise<Bed> {
  const { cli, controlPlane, options } = await withControlPlane(t);
  await runCli(["apply", "-f", "-", ...options], { input: MESH });
  const clock = fakeClock({ wall: Date.now() });
  const lines: string[] = [];
  const logger = pino(
    { level: "info" },
    {
      write(text: string) {
        const { port, reason = "answers" } = JSON.parse(text) as LogLine;
        if (port !== undefined) lines.push(`${port} ${reason}`);
      },
    },
  );
  const start = async (
    account: string,
    own: Readonly<Record<string, number>>,
    more: Partial<Parameters<typeof startSidecar>[0]>,
  ): Promise<Sidecar> => {
    const { out: token } = await cli(
      ...["token", "create", "-n", "shop", "--service-account", account],
      ...["--label", `app=${account}`, "--allow-address", "127.0.0.0/8"],
    );
    const sidecar = await startSidecar({
      agent: (bound) =>
        startTestAgent(t, {
          controlPlane: controlPlane.pushAddress,
          token: token.trim(),
          name: `${account}-1`,
          interest: undefined,
          workload: () =>
            bound.link === undefined
              ? undefined
              : {
                  address: "127.0.0.1",
                  ports: own,
                  link: { port: bound.link },
                },
        }),
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      ports: { outbound: 0, link: 0, admin: 0, metrics: 0 },
      appPorts: Object.values(own),
      ...more,
    });
    t.teardown(() => sidecar.destroy());
    await serving(sidecar.agent);
    return sidecar;
  };
  const callee = await start("orders", ports, { clock, logger });
  const caller = await start("web", {}, {});
  return {
    lines,
    callee,
    advance: (ms) => clock.advance(ms),
    call: async (port) => {
      const { status, text, reason } = await send(caller.ports.outbound ?? 0, {
        host: `orders.shop:${port}`,
      });
      return `${status} ${reason ?? ""} ${text}`;
    },
    cli: async (...argv) => (await cli(...argv)).out,
  };
}

/** Time passes for the sidecar, as long as it does not say so. */
async function told(
  bed: Bed,
  isTold: () => boolean | Promise<boolean>,
): Promise<void> {
  await until(async () => {
    bed.advance(LATE / 10);
    return isTold();
  });
}

void t.test(
  "a port that does not answer is not called, beside one that does",
  async (t) => {
    const { port: http } = await listeningOn(t, "127.0.0.1");
    const reports = await closedPort(t);
    const bed = await startBed(t, { http, reports });
    const why = `127.0.0.1:${reports}: connection refused; nothing listens on port ${reports} there`;
    await until(async () => (await bed.call(80)).startsWith("200"));
    const refused = await bed.call(81);
    t.match(refused, /^503 NO_ENDPOINT /);
    t.match(
      refused,
      `orders.shop:81: no endpoint is ready: shop/orders-1 says ${why}`,
    );
    t.same(bed.lines, [], "it may be about to start");
    await told(bed, () => bed.lines.length > 0);
    t.same(bed.lines, [`${reports} ${why}`]);
    const status = await bed.cli("status");
    t.match(status, /orders-1 +connected +partly ready/);
    t.match(
      status,
      `shop/orders-1 cannot reach its application on port reports: ${why}\n`,
    );
    t.match(
      bed.callee.readiness.checks().find(({ name }) => name === "application"),
      { ok: false, detail: why },
    );

    const { server } = await listeningOn(t, "127.0.0.1", reports);
    await told(bed, async () => (await bed.call(81)).startsWith("200"));
    t.same(bed.lines.slice(1), [`${reports} answers`]);
    t.match(await bed.cli("status"), /orders-1 +connected +ready/);
    server.close();
    server.closeAllConnections();
    await told(bed, async () => /NO_ENDPOINT/.test(await bed.call(81)));
    t.same(bed.lines.slice(2), [`${reports} ${why}`]);
    t.match(await bed.call(80), /^200 /);
  },
);

/** Where the application of a sidecar that looks on 127.0.0.1 is, and what is said of it. */
const ELSEWHERE: Readonly<
  Record<string, (t: Test) => Promise<[port: number, why: string]>>
> = {
  "on ::1 alone": async (t) => {
    const { port } = await listeningOn(t, "::1");
    return [port, `connection refused; something listens on [::1]:${port}`];
  },
  "on another address": async (t) => {
    const { port } = await listeningOn(t, "127.0.0.9");
    return [port, `connection refused; something listens on 127.0.0.9:${port}`];
  },
  "on another port": async (t) => {
    const port = await closedPort(t);
    return [port, `connection refused; nothing listens on port ${port} there`];
  },
};

for (const [where, start] of Object.entries(ELSEWHERE))
  void t.test(`an application ${where} is told of`, async (t) => {
    const [http, found] = await start(t);
    const bed = await startBed(t, { http });
    const why = `127.0.0.1:${http}: ${found}`;
    await told(bed, () => bed.lines.length > 0);
    t.same(bed.lines, [`${http} ${why}`]);
    await until(async () => / says /.test(await bed.call(80)));
    t.match(
      await bed.call(80),
      `no endpoint is ready: shop/orders-1 says ${why}`,
    );
    const status = await bed.cli("status");
    t.match(status, /orders-1 +connected +not ready/);
    t.match(status, `cannot reach its application on port http: ${why}\n`);
    t.match(await bed.cli("get", "workloads", "-n", "shop"), /orders-1 .* no /);
  });
