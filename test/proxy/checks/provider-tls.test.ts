/** Which servers are believed to be a provider that speaks TLS: those that prove its own name or address, whatever host a caller says. */
import type { TLSSocket } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import t, { type Test } from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type {
  Answer,
  Asked,
} from "../../../src/proxy/checks/providers/answer.ts";
import { ProviderClients } from "../../../src/proxy/checks/providers/clients.ts";
import {
  providersOf,
  type Provider,
  type ProviderTls,
} from "../../../src/resources/mesh/providers.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { grpcScript } from "../../support/checks/providers.ts";
import { scriptedStream } from "../../support/checks/scripted-stream.ts";
import {
  outsideAuthority,
  outsideServer,
  type Leaf,
  type LeafOptions,
} from "../../support/peers/outside.ts";

const authority = outsideAuthority();
const stranger = outsideAuthority();
const NAME = "opa.test";
const HOST = "orders.shop";

interface Server {
  readonly kind: "http" | "grpc";
  readonly address: string;
}

async function httpServer(t: Test, leaf: Leaf): Promise<Server> {
  const { port } = await outsideServer(t, "http/1.1", leaf);
  return { kind: "http", address: `127.0.0.1:${port}` };
}

async function grpcServer(t: Test, { cert, key }: Leaf): Promise<Server> {
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
  const script = await grpcScript(
    () => ({ status: { code: 0 } }),
    ServerCredentials.createSsl(null, [pair]),
  );
  t.teardown(() => script.close());
  return { kind: "grpc", address: script.address };
}

function providerOf({ kind, address }: Server, tls: ProviderTls): Provider {
  const trusted = { trustBundle: authority.bundle, ...tls };
  const [provider] = providersOf([
    { name: "opa", [kind]: { address, tls: trusted } },
  ]);
  if (provider === undefined) throw new Error("there is no provider");
  return provider;
}

/** A config with that provider, and what it says of a request for `host`. */
function asking(
  t: Test,
  provider: Provider,
): (host: string) => Promise<Answer> {
  const config = {
    mesh: { authorization: { providers: [provider] } },
    inbound: { ports: [{ custom: { providers: ["opa"] } }] },
  } as unknown as Snapshot;
  const clients = new ProviderClients(
    watchSource<Snapshot | undefined>(config),
    fakeClock(),
  );
  t.teardown(() => clients.close());
  return (host) =>
    new Promise((resolve) => {
      const stream = scriptedStream({ authority: host }, {}, true);
      const asked = {
        ...{ stream, read: { target: "/" }, self: "", port: 1, wall: 0 },
        ...{ body: undefined, partial: false },
      };
      clients.of(provider).ask(asked as unknown as Asked, resolve);
    });
}

const ROWS: readonly (readonly [
  what: string,
  leaf: LeafOptions & { readonly of?: typeof authority },
  tls: ProviderTls,
  kind: Answer["kind"],
])[] = [
  ["its name", { dns: [NAME] }, { serverName: NAME }, "allowed"],
  ["its address", { dns: [], ips: ["127.0.0.1"] }, {}, "allowed"],
  [
    "an address for a name",
    { dns: [], ips: ["10.0.0.9"] },
    { serverName: "10.0.0.9" },
    "allowed",
  ],
  ["another name", { dns: ["other.test"] }, { serverName: NAME }, "failed"],
  [
    "the host that the caller said",
    { dns: [HOST] },
    { serverName: NAME },
    "failed",
  ],
  ["that host, for an address", { dns: [HOST] }, {}, "failed"],
  ["another address", { dns: [NAME], ips: ["10.0.0.9"] }, {}, "failed"],
  [
    "an unknown authority",
    { dns: [NAME], of: stranger },
    { serverName: NAME },
    "failed",
  ],
];

for (const [name, start] of [
  ["HTTP", httpServer],
  ["gRPC", grpcServer],
] as const)
  void t.test(`${name}: a provider proves what it is`, async (t) => {
    for (const [what, { of = authority, ...leaf }, tls, kind] of ROWS) {
      const server = await start(t, of.leaf(leaf));
      const ask = asking(t, providerOf(server, tls));
      t.equal((await ask(HOST)).kind, kind, what);
    }
  });

void t.test("a connection is for all hosts", async (t) => {
  const server = await outsideServer(
    t,
    "http/1.1",
    authority.leaf({ dns: [NAME] }),
  );
  let closed = 0;
  server.server.on("secureConnection", (socket: TLSSocket) => {
    socket.on("close", () => (closed += 1));
  });
  const address = `127.0.0.1:${server.port}`;
  const ask = asking(
    t,
    providerOf({ kind: "http", address }, { serverName: NAME }),
  );
  const hosts = [HOST, "other.shop", "10.0.0.7", HOST];
  for (const host of hosts) t.equal((await ask(host)).kind, "allowed", host);
  t.same(
    server.requests.map(({ headers }) => headers["host"]),
    hosts,
  );
  t.equal(closed, 0, "none is made anew for another");
  for (const { serverName } of server.sessions) t.equal(serverName, NAME);
});
