/** A sidecar and a control plane whose names the system resolves at a name server of the test, and the servers that the names lead to. Needs root; imported by what runs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { freePort } from "../../../src/demo/free-port.ts";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import { signsAsAsked } from "../certificates/signing-server.ts";
import { nameServer } from "../dns/name-server.ts";
import { read, replyTo } from "../dns/questions.ts";
import { call, closeCalls, eventually, type Called } from "../peers/call.ts";
import { outsideAuthority } from "../peers/outside.ts";
import { startPlane, type PlaneProcess } from "../processes/plane-process.ts";
import {
  startSidecarProcess,
  type SidecarProcess,
} from "../processes/sidecar-process.ts";
import { keySetText, testKey, token } from "../tokens/issuer.ts";

/** The system asks port 53 alone. Another run's server has another address. */
const SERVER = `127.53.${randomInt(1, 255)}.${randomInt(1, 255)}`;
const [PEER, BEFORE, AFTER] = [2, 3, 4].map(
  (last) => `127.77.${SERVER.split(".").slice(2).join("").slice(0, 2)}.${last}`,
) as [string, string, string];

export const FAULTS = [
  "nxdomain",
  "servfail",
  "silent",
  "dead",
  "moved",
] as const;
export type Fault = (typeof FAULTS)[number];

export const directory: string = mkdtempSync(join(tmpdir(), "wherry-names-"));
const file = (name: string, text: string): string => {
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};

/** What names lead to now: the fault is the label before "test", and some have one of their own. */
export const own: Map<string, string> = new Map();
let healed = false;
const faultOf = (name: string): string => {
  const fault = own.get(name) ?? name.split(".").at(-2) ?? "";
  return healed && fault !== "moved" && !own.has(name) ? "well" : fault;
};

await nameServer(
  t,
  (bytes) => {
    const [asked] = read(bytes).questions;
    const fault = faultOf(asked?.name.toLowerCase() ?? "");
    if (fault === "silent") return undefined;
    if (fault === "nxdomain") return replyTo(bytes, { rcode: 3 });
    if (fault === "servfail") return replyTo(bytes, { rcode: 2 });
    if (asked?.type !== "A") return replyTo(bytes);
    if (fault === "dead")
      return replyTo(bytes, { addresses: ["127.0.0.1", "127.0.0.2", PEER] });
    if (fault === "moved")
      return replyTo(bytes, { addresses: [healed ? AFTER : BEFORE] });
    return replyTo(bytes, { addresses: [PEER] });
  },
  { host: SERVER, port: 53 },
);

/** Everything that is called: keys, a provider of authorization, a collector, an application outside. Says what it was asked. */
const key = await testKey("ES256", "k1");
export const heard: string[] = [];
const listen = async (made: Server, host: string, at = 0): Promise<number> => {
  made.listen(at, host);
  await once(made, "listening");
  return (made.address() as AddressInfo).port;
};
const peer = (): Server =>
  createServer((request, response) => {
    heard.push(`${request.headers.host ?? ""}${request.url ?? ""}`);
    request.resume();
    response.end(request.url === "/keys" ? keySetText(key) : "served");
  });
const [peers, before, after] = [peer(), peer(), peer()];
const port = await listen(peers, PEER);
await listen(before, BEFORE, port);

const authority = fakeAuthority();
const outside = outsideAuthority();
const signer = signsAsAsked(authority.rootIssuer, "");
const issuer = createHttpsServer(
  outside.leaf({ dns: ["issuer.test"] }),
  (request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const body = JSON.parse(text) as Record<string, unknown>;
      const [status, said] = signer({ path: "", headers: {}, body }) ?? [
        500,
        {},
      ];
      response.writeHead(status).end(JSON.stringify(said));
    });
  },
);
const issuerPort = await listen(issuer, PEER);

const resolver = file("resolv.conf", "");
export const resolves = (does: boolean): void =>
  writeFileSync(
    resolver,
    does ? `nameserver ${SERVER}\noptions timeout:5 attempts:1\n` : "",
  );
resolves(true);
const nsswitch = file("nsswitch.conf", "hosts: files dns\n");
/** A process whose resolver is the system's, with files of the test. */
const prefix = [
  ...["unshare", "--mount", "bash", "-c"],
  `mount --bind ${resolver} /etc/resolv.conf && mount --bind ${nsswitch} /etc/nsswitch.conf && exec "$@"`,
  "bash",
];

const external = (name: string, host: string): object => ({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Service",
  metadata: { name, namespace: "shop" },
  spec: {
    location: "MESH_EXTERNAL",
    hosts: [host],
    ports: [{ name: "web", port: 80, targetPort: port, appProtocol: "http" }],
  },
});
const onWeb = { selector: { matchLabels: { app: "web" } } };
const security = (kind: string, name: string, spec: object): object => ({
  ...{ apiVersion: "security.istio.io/v1", kind },
  ...{ metadata: { name, namespace: "shop" }, spec: { ...onWeb, ...spec } },
});
export const RESOURCES: readonly object[] = [
  {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Mesh",
    metadata: { name: "default" },
    spec: {
      privateFetch: { ranges: ["127.0.0.0/8"] },
      defaults: { tracing: { randomSamplingPercentage: 100 } },
      authorization: {
        defaultAction: "ALLOW",
        providers: FAULTS.map((fault) => ({
          name: fault,
          http: { address: `authz.${fault}.test:${port}` },
          timeout: "8s",
        })),
      },
    },
  },
  {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop" },
    spec: {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: "web" },
    },
  },
  security("PeerAuthentication", "open", { mtls: { mode: "PERMISSIVE" } }),
  security("RequestAuthentication", "tokens", {
    jwtRules: FAULTS.map((fault) => ({
      issuer: `https://${fault}.example`,
      jwksUri: `http://keys.${fault}.test:${port}/keys`,
    })),
  }),
  ...FAULTS.map((fault) =>
    security("AuthorizationPolicy", `ask-${fault}`, {
      action: "CUSTOM",
      provider: { name: fault },
      rules: [{ to: [{ operation: { paths: [`/asked/${fault}`] } }] }],
    }),
  ),
  ...FAULTS.map((fault) => external(fault, `api.${fault}.test`)),
  external("good", "api.good.test"),
  external("typos", "*.nxdomain.test"),
  external("many", "*.silent.test"),
];

const application = createServer((_request, response) => response.end("web"));
const appPort = await listen(application, "127.0.0.1");
const published = await freePort();
export const accessLog: string = join(directory, "access.log");
const startControlPlane = (ports: {
  readonly api: string;
  readonly push: string;
}): Promise<PlaneProcess> =>
  startPlane(join(directory, "plane"), {
    ...{ prefix, ports },
    more: [
      ...["--issuer-url", `https://issuer.test:${issuerPort}/sign`],
      ...["--issuer-roots", file("roots.pem", authority.bundle)],
      ...["--issuer-ca", file("ca.pem", outside.bundle)],
      ...["--issuer-token-file", file("issuer.token", "secret")],
    ],
  });
const first = await startControlPlane({
  api: "127.0.0.1:0",
  push: `${PEER}:0`,
});
const pushPort = first.push.split(":").at(-1) ?? "";
/** The processes that run now. */
export const running: { plane: PlaneProcess; web: SidecarProcess | undefined } =
  {
    plane: first,
    web: undefined,
  };
export const start = async (
  given: { readonly token?: string } = {},
): Promise<SidecarProcess> => {
  running.web = await startSidecarProcess({
    ...{ prefix, account: "web", application: appPort, ...given },
    push: `plane.test:${pushPort}`,
    state: join(directory, "web"),
    more: [
      ...["--otlp-endpoint", `http://collector.test:${port}`],
      ...["--publish", `${published}=${appPort}`],
      ...["--access-log-file", accessLog],
    ],
  });
  return running.web;
};

t.teardown(async () => {
  closeCalls();
  await running.web?.process.stop();
  await running.plane.process.stop();
  for (const each of [peers, before, after, application, issuer]) {
    each.closeAllConnections();
    each.close();
  }
  rmSync(directory, { recursive: true, force: true });
});

/** Names have no faults of their own from now on, and what was called by "moved" is at another address. */
export async function heal(): Promise<void> {
  before.close();
  before.closeAllConnections();
  await listen(after, AFTER, port);
  healed = true;
}

/** The control plane is started again, at the address that "moved" leads to. */
export async function movePlane(): Promise<void> {
  const { api, process } = running.plane;
  await process.stop();
  running.plane = await startControlPlane({
    api: api.slice("http://".length),
    push: `${AFTER}:${pushPort}`,
  });
  own.set("plane.test", "moved");
}

/** The application calls a host, once the sidecar knows of it: config is asked for when it is first used. */
export const calls = (host: string): Promise<Called> =>
  eventually(
    `the sidecar knows ${host}`,
    30_000,
    () =>
      call(`http://127.0.0.1:${running.web?.outbound ?? 0}/`, {
        headers: { host },
      }),
    ({ text }) => !text.startsWith("NO_CONFIG"),
  );

/** Somebody calls the application. */
export const comesIn = (
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Called> => call(`http://127.0.0.1:${published}${path}`, { headers });

export async function withToken(fault: Fault): Promise<Called> {
  const claims = { iss: `https://${fault}.example` };
  const bearer = await token(key, { claims });
  return comesIn("/", { authorization: `Bearer ${bearer}` });
}
