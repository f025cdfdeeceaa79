/** A sidecar as a process of its own, with an application of this process behind a published port: what strangers attack. */
import { mkdtemp, rm } from "node:fs/promises";
import {
  createServer as createHttpServer,
  type RequestListener,
} from "node:http";
import type { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import { startFileSidecar, untilReady } from "./sidecar-process.ts";
import { cpuOf, loopCpuOf, residentOf } from "./usage.ts";
import { freePort } from "../../../src/demo/free-port.ts";
import { OPEN_MESH, ORDERS_SERVICE } from "../resources/yaml.ts";

export interface LoneSidecar {
  /** Leads to the application; takes callers without a sidecar. */
  readonly published: number;
  readonly link: number;
  /** For calls of the local application. */
  readonly outbound: number;
  /** The application's own port. */
  readonly appPort: number;
  readonly admin: number;
  readonly metrics: number;
  /** The directory of its files: resources, certificate, state. */
  readonly directory: string;
  readonly pid: number;
  /** Resident memory of the process, bytes. */
  resident(): number;
  /** Milliseconds of CPU that the process has used, in steps of 10. */
  cpu(): number;
  /** Milliseconds of CPU that its event loop has used, to the microsecond. */
  loopCpu(): number;
  /** The sum of the series whose line begins with `name` and contains all of `parts`. */
  metric(name: string, ...parts: string[]): Promise<number>;
  /** Lines of the sidecar's own log. */
  readonly log: readonly string[];
  stop(): Promise<void>;
}

/** Service and policies of the lone sidecar: everybody may call it, in plaintext too. */
export const OPEN_RESOURCES: string = `${OPEN_MESH}---${ORDERS_SERVICE}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: open, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  mtls: { mode: PERMISSIVE }
`;

export async function startLoneSidecar(
  app: RequestListener,
  args: readonly string[] = [],
  /** Resources besides. */
  more: (appPort: number) => string = () => "",
): Promise<LoneSidecar> {
  const server = createHttpServer(app);
  const appPort = await listening(server);
  const directory = await mkdtemp(join(tmpdir(), "wherry-lone-"));
  const published = await freePort();
  const sidecar = await startFileSidecar({
    name: "orders-1",
    app: "orders",
    resources: OPEN_RESOURCES + more(appPort),
    credentials: fakeAuthority().credentials("orders"),
    directory,
    more: [
      ...["--app-port", `http=${appPort}`],
      ...["--publish", `${published}=${appPort}`, ...args],
    ],
  });
  const { process } = sidecar;
  await untilReady("the sidecar", sidecar, "/readyz?application");
  return {
    published,
    link: sidecar.link,
    outbound: sidecar.outbound,
    appPort,
    admin: sidecar.admin,
    metrics: sidecar.metrics,
    directory,
    pid: process.pid,
    cpu: () => cpuOf(process.pid),
    loopCpu: () => loopCpuOf(process.pid),
    resident: () => residentOf(process.pid),
    metric: (name, ...parts) => sidecar.metric(name, ...parts),
    get log() {
      return process.log.split("\n");
    },
    async stop() {
      await process.stop();
      server.closeAllConnections();
      server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Connections that the application's kernel takes before it does: many requests may come at once. */
const BACKLOG = 4096;

function listening(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", BACKLOG, () => {
      const address = server.address();
      if (address === null || typeof address === "string")
        throw new TypeError("the server has no TCP address");
      resolve(address.port);
    });
  });
}
