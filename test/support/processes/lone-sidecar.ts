/** A sidecar as a process of its own, with an application of this process behind a published port: what strangers attack. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  createServer as createHttpServer,
  type RequestListener,
} from "node:http";
import type { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { call, eventually } from "../peers/call.ts";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import { cleanEnvironment, ROOT } from "./demo.ts";
import { freePort } from "../../../src/demo/free-port.ts";

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
  /** Resident memory of the process, octets. */
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
export const OPEN_RESOURCES: string = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  authorization: { defaultAction: ALLOW }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: orders }
---
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
  const state = await mkdtemp(join(tmpdir(), "wherry-lone-"));
  const pems = fakeAuthority().credentials("orders");
  const file = async (name: string, text: string): Promise<string> => {
    const path = join(state, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const published = await freePort();
  const child = spawn(
    process.execPath,
    [
      join(ROOT, "src", "wherry.js"),
      "sidecar",
      ...["--name", "orders-1", "--label", "app=orders", "--no-capture"],
      ...[
        "--resources",
        await file("mesh.yaml", OPEN_RESOURCES + more(appPort)),
      ],
      ...["--certificate", await file("leaf.pem", pems.certificateChain)],
      ...["--private-key", await file("leaf.key", pems.privateKey)],
      ...["--trust-bundle", await file("root.pem", pems.trustBundle)],
      ...["--host", "127.0.0.1", "--app-port", `http=${appPort}`],
      ...["--state", join(state, "state")],
      ...["outbound", "link", "admin", "metrics"].flatMap((name) => [
        `--${name}-port`,
        "0",
      ]),
      ...["--publish", `${published}=${appPort}`, ...args],
    ],
    {
      cwd: ROOT,
      env: cleanEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let printed = "";
  child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const gone = new Promise<void>((resolve) =>
    child.once("exit", () => resolve()),
  );
  const portOf = (name: string): number =>
    Number(new RegExp(`"${name}":(\\d+)`).exec(printed)?.[1] ?? 0);
  await eventually(
    "the sidecar is ready",
    20_000,
    async () => {
      if (child.exitCode !== null) throw new Error(printed);
      const metrics = portOf("metrics");
      return metrics === 0
        ? 0
        : (await call(`http://127.0.0.1:${metrics}/readyz?application`)).status;
    },
    (status) => status === 200,
  );
  return {
    published,
    link: portOf("link"),
    outbound: portOf("outbound"),
    appPort,
    admin: portOf("admin"),
    metrics: portOf("metrics"),
    directory: state,
    pid: child.pid ?? 0,
    cpu() {
      const text = readFileSync(`/proc/${child.pid ?? 0}/stat`, "latin1");
      const [user, system] = text.split(") ")[1]?.split(" ").slice(11) ?? [];
      // In ticks of 10 ms, on every Linux.
      return (Number(user) + Number(system)) * 10;
    },
    loopCpu() {
      const pid = child.pid ?? 0;
      const text = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "latin1");
      return Number(text.split(" ")[0]) / 1e6;
    },
    resident() {
      const text = readFileSync(`/proc/${child.pid ?? 0}/status`, "latin1");
      return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
    },
    async metric(name, ...parts) {
      const { text } = await call(
        `http://127.0.0.1:${portOf("metrics")}/metrics`,
      );
      return text
        .split("\n")
        .filter(
          (line) =>
            line.startsWith(name) && parts.every((part) => line.includes(part)),
        )
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    },
    get log() {
      return printed.split("\n");
    },
    async stop() {
      child.kill("SIGKILL");
      await gone;
      server.closeAllConnections();
      server.close();
      await rm(state, { recursive: true, force: true });
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
