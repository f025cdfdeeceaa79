/**
 * A mesh whose applications know nothing of it: "caller" and "callee" are hosts with a sidecar and packet rules, "outside" has neither.
 * The callee is registered by its IPv4 address and the caller by its IPv6 address, so that a call each way tries both families.
 */
import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/demo/free-port.ts";
import { readExport, type ReceivedSpan } from "../../../src/demo/otlp.ts";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import { eventually } from "../peers/call.ts";
import { runWherry, WHERRY as COMMAND, type Ran } from "../processes/demo.ts";
import {
  makeNetwork,
  type Daemon,
  type Host,
  type Network,
  type Machine,
  type RunOptions,
} from "./hosts.ts";

/** The sidecars' user; applications are root's. */
export const PROXY = 1337;

export const WHERRY: readonly string[] = [process.execPath, COMMAND];

export interface MeshHost extends Host {
  readonly application: Daemon;
  /** The newest of its processes. */
  readonly sidecar: Daemon;
  /** Another process takes over from it; resolves once that listens. */
  takeOver(): Promise<void>;
  /** What the sidecar's access log has of this path, oldest first. */
  accesses(path: string): AccessRecord[];
  /** Requests that the application has seen, as "GET /path". */
  requests(): string[];
  /** Addresses of connections to the application from other hosts than its own. */
  strangers(): string[];
}

export interface CapturedMesh {
  readonly network: Network;
  readonly caller: MeshHost;
  readonly callee: MeshHost;
  /** A host without a sidecar. */
  readonly outside: Host;
  readonly outsideApplication: Daemon;
  readonly spans: readonly ReceivedSpan[];
  /** "HOST:PORT" of the control plane's push port. */
  readonly push: string;
  apply(yaml: string): Promise<void>;
  /** `wherry` with these arguments, as the administrator; what it prints. */
  cli(args: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

/** HTTP on 8080, and WebSockets that say a word; on 9000 bytes are echoed after a greeting, on 9001 the server ends its half first. Tells what it sees, a line each. */
const APPLICATION = `
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
const name = process.argv[1];
const say = (what) => process.stdout.write(JSON.stringify(what) + "\\n");
const isOwn = (address) => address === "::1" || /^(::ffff:)?127[.]/.test(address ?? "");
const look = (socket) => {
  socket.on("error", () => {});
  if (!isOwn(socket.remoteAddress)) say({ stranger: socket.remoteAddress });
};
createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    say({ request: request.method + " " + request.url, fields: request.headers });
    response.setHeader("x-answered-by", name);
    response.end("plain answer of " + name + " to " + body);
  });
}).on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  const text = "a frame of " + name;
  socket.on("error", () => {});
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: Upgrade\\r\\nsec-websocket-accept: " + accept + "\\r\\n\\r\\n");
  socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
  socket.on("data", (chunk) => (chunk[0] & 15) === 8 && socket.end(Buffer.from([0x88, 0])));
  socket.on("end", () => socket.end());
}).on("connection", look).listen(8080, "::");
createTcpServer({ allowHalfOpen: true }, (socket) => {
  look(socket);
  let octets = 0;
  socket.write("greeting of " + name + "\\n");
  socket.on("data", (chunk) => {
    octets += chunk.length;
    if (!socket.write(chunk)) socket.pause();
  });
  socket.on("drain", () => socket.resume());
  socket.on("end", () => socket.end("\\nseen " + octets));
}).listen(9000, "::");
createTcpServer({ allowHalfOpen: true }, (socket) => {
  look(socket);
  let text = "";
  socket.end("all I have to say");
  socket.on("data", (chunk) => (text += chunk));
  socket.on("end", () => {
    if (text !== "") say({ after: text });
  });
}).listen(9001, "::", () => say({ listens: name }));
`;

const RESOURCES = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  mtls: { mode: STRICT }
  authorization: { defaultAction: DENY }
  defaults: { tracing: { randomSamplingPercentage: 100 } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: callee, namespace: shop }
spec:
  ports:
    - { name: http, port: 80, targetPort: 8080, appProtocol: http }
    - { name: echo, port: 90, targetPort: 9000, appProtocol: tcp }
    - { name: ends, port: 91, targetPort: 9001, appProtocol: tcp }
  selector: { app: callee }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: caller, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080, appProtocol: http }]
  selector: { app: caller }
`;

/** An AuthorizationPolicy that lets one service account call \`app\`. */
export function allowOnly(app: string, serviceAccount: string): string {
  return `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${app}-callers, namespace: shop }
spec:
  selector: { matchLabels: { app: ${app} } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/${serviceAccount}] } }] }]
`;
}

/** A second application behind the callee's sidecar. */
export interface SecondApplication {
  readonly command: readonly string[];
  /** As `--app-port` has it: "NAME=PORT". */
  readonly port: string;
}

/** `nameServers`: those that applications ask; the caller's questions to them are captured. */
export async function startCapturedMesh(
  second?: SecondApplication,
  nameServers: readonly string[] = [],
): Promise<CapturedMesh> {
  const state = await mkdtemp(join(tmpdir(), "wherry-hosts-"));
  // Sidecars look for their own folder in it.
  await chmod(state, 0o711);
  const network = makeNetwork(["caller", "callee", "outside"]);
  const { machine } = network;
  const spans: ReceivedSpan[] = [];
  const collector = await startCollector(machine.ipv4, spans);
  const sidecars: Daemon[] = [];
  const close = async (): Promise<void> => {
    // Before the control plane, which they say goodbye to, and without a wait for the applications.
    await Promise.all(sidecars.map((sidecar) => sidecar.stop("SIGINT")));
    await network.close();
    collector.close();
    collector.closeAllConnections();
    await rm(state, { recursive: true, force: true });
  };
  try {
    const [api, push] = [
      `127.0.0.1:${await freePort()}`,
      `${machine.ipv4}:${await freePort(machine.ipv4)}`,
    ];
    machine.start([
      ...WHERRY,
      "control-plane",
      ...["--state", join(state, "control-plane"), "--api", api],
      ...["--push", push],
    ]);
    const cli = (args: readonly string[], input = ""): Promise<string> =>
      must(
        runWherry(
          args,
          {
            WHERRY_SERVER: `http://${api}`,
            WHERRY_STATE: join(state, "control-plane"),
          },
          input,
        ),
      );
    const apply = async (yaml: string): Promise<void> => {
      await cli(["apply", "-f", "-"], yaml);
    };
    const { hosts } = network;
    const applications = new Map<string, Daemon>();
    for (const host of hosts.values())
      applications.set(host.name, startApplication(host));
    if (second !== undefined) hostOf(hosts, "callee").start(second.command);
    await answers("the control plane", machine, `http://${api}/readyz`);
    await apply(
      [
        RESOURCES,
        allowOnly("callee", "caller"),
        allowOnly("caller", "callee"),
      ].join("---"),
    );

    const joinMesh = async (
      name: string,
      address: "ipv4" | "ipv6",
      ports: string,
    ): Promise<MeshHost> => {
      const host = hostOf(hosts, name);
      const directory = join(state, name);
      await mkdir(directory, { mode: 0o700 });
      await chown(directory, PROXY, PROXY);
      const resolves = name === "caller" && nameServers.length > 0;
      const captured = resolves
        ? ["--dns-port", "15053", "--dns-server", nameServers.join()]
        : [];
      await must(host.run([...WHERRY, "intercept", ...captured]));
      if (resolves) await routeNames(host, nameServers);
      const token = await cli([
        ...["token", "create", "-n", "shop", "--service-account", name],
        ...["--label", `app=${name}`, "--uses", "1", "--ttl", "10m"],
        // One calls the control plane by IPv4 and is called by IPv6.
        ...["--allow-address", host[address]],
      ]);
      const start = (
        more: readonly string[],
        environment: RunOptions["environment"] = {},
      ): Daemon => {
        const sidecar = host.start(
          [
            ...[...WHERRY, "sidecar", "--control-plane", push, "--name", name],
            ...["--address", host[address], "--app-port", ports],
            ...["--state", join(directory, "state"), "--access-log", "all"],
            ...(resolves ? ["--dns"] : []),
            ...[
              "--otlp-endpoint",
              `http://${machine.ipv4}:${portOf(collector)}`,
            ],
            ...more,
          ],
          { uid: PROXY, environment },
        );
        sidecars.push(sidecar);
        return sidecar;
      };
      const sidecar = start([], { WHERRY_TOKEN: token.trim() });
      // Tests start the databases behind the callee later: not each of its ports has an application yet.
      const ready = `http://${host.ipv4}:15020/readyz`;
      await answers(`${name}'s sidecar`, machine, ready, sidecar);
      const application = daemonOf(applications, name);
      return meshHost(host, application, sidecar, start);
    };
    const [caller, callee] = await Promise.all([
      joinMesh("caller", "ipv6", "http=8080"),
      joinMesh(
        "callee",
        "ipv4",
        [
          "http=8080,echo=9000,ends=9001,redis=6379,postgres=5432",
          ...(second ? [second.port] : []),
        ].join(),
      ),
    ]);
    for (const application of applications.values())
      await application.prints('"listens"');
    return {
      network,
      caller,
      callee,
      outside: hostOf(hosts, "outside"),
      outsideApplication: daemonOf(applications, "outside"),
      spans,
      push,
      apply,
      cli,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Packets are routed before rules lead them elsewhere: what the host has no route for is not captured. */
async function routeNames(
  host: Host,
  nameServers: readonly string[],
): Promise<void> {
  for (const range of ["240.240.0.0/16", ...nameServers])
    if (!range.startsWith("127.") && !range.includes(":"))
      await must(host.run(["ip", "route", "replace", range, "dev", "eth0"]));
}

function startApplication(host: Host): Daemon {
  return host.start([
    process.execPath,
    "--input-type=module",
    ...["-e", APPLICATION, host.name],
  ]);
}

function meshHost(
  host: Host,
  application: Daemon,
  first: Daemon,
  start: (more: readonly string[]) => Daemon,
): MeshHost {
  const processes = [first];
  return {
    ...host,
    application,
    get sidecar() {
      return processes.at(-1) ?? first;
    },
    async takeOver() {
      const newer = start(["--take-over"]);
      await newer.prints("the sidecar listens");
      processes.push(newer);
    },
    accesses: (path) =>
      processes
        .flatMap(objects)
        .filter((line) => line["direction"] !== undefined)
        .map((line) => line as unknown as AccessRecord)
        .filter((record) => record.path === path),
    requests: () => requestsTo(application),
    strangers: () => texts(application, "stranger"),
  };
}

/** Requests that an application has seen. */
export function requestsTo(application: Daemon): string[] {
  return texts(application, "request");
}

function texts(daemon: Daemon, key: string): string[] {
  return objects(daemon)
    .map((line) => line[key])
    .filter((value) => typeof value === "string");
}

function objects(daemon: Daemon): Record<string, unknown>[] {
  return daemon.lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return [];
    }
  });
}

async function answers(
  what: string,
  from: Machine,
  url: string,
  daemon?: Daemon,
): Promise<void> {
  await eventually(
    `${what} is ready`,
    120_000,
    async () => {
      const { stdout } = await from.run([
        ...["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"],
        ...["--noproxy", "*", "--max-time", "2", url],
      ]);
      return `${stdout} ${daemon?.printed ?? ""}`;
    },
    (text) => text.startsWith("200"),
  );
}

async function must(running: Promise<Ran>): Promise<string> {
  const { code, stdout, stderr } = await running;
  if (code !== 0) throw new Error(`${stdout}${stderr}`);
  return stdout;
}

function startCollector(host: string, spans: ReceivedSpan[]): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      spans.push(...readExport(Buffer.concat(chunks)));
      response.setHeader("content-type", "application/x-protobuf");
      response.end();
    });
  });
  return new Promise((resolve) =>
    server.listen(0, host, () => resolve(server)),
  );
}

function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new TypeError("the server has no TCP address");
  return address.port;
}

function hostOf(hosts: ReadonlyMap<string, Host>, name: string): Host {
  const host = hosts.get(name);
  if (host === undefined) throw new Error(`no host ${name}`);
  return host;
}

function daemonOf(daemons: ReadonlyMap<string, Daemon>, name: string): Daemon {
  const daemon = daemons.get(name);
  if (daemon === undefined) throw new Error(`no application of ${name}`);
  return daemon;
}
