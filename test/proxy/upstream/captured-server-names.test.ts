/** Captured TLS of the application to hosts outside: its server name says the host, below a wildcard too, and opens nothing else. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { connect } from "node:tls";
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { whereTo } from "../../../src/proxy/destination.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { readClientHello } from "../../../src/wire/tls/client-hello.ts";
import { bytesTo } from "../../support/peers/arrivals.ts";
import {
  mesh,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const outside = (
  name: string,
  hosts: readonly string[],
  appProtocol = "tls",
  more = {},
): Resource =>
  service(`shop/${name}`, {
    ...{ location: "MESH_EXTERNAL", hosts, ...more },
    ports: [{ name: "web", port: 443, appProtocol }],
  } as unknown as Parameters<typeof service>[1]);

const ANYWHERE = "198.51.100.7";
const FIXED = "192.0.2.1";
const RESOURCES: readonly Resource[] = [
  outside("wild", ["*.example.test"]),
  outside("exact", ["api.example.test"]),
  outside("http", ["*.plain.test"], "http"),
  outside("fixed", ["fixed.example"], "tls", {
    ...{ resolution: "STATIC", endpoints: [{ address: FIXED }] },
  }),
  service("shop/orders", {
    ports: [{ name: "web", port: 443, targetPort: 443, appProtocol: "tls" }],
    selector: { app: "orders" },
  }),
  workload("shop/orders-1", "orders", {
    ...{ address: "10.0.0.9", ports: { web: 443 } },
  }),
];

function compile(
  outboundTrafficPolicy: "ALLOW_ANY" | "REGISTRY_ONLY",
): Snapshot {
  const all = [mesh({ outboundTrafficPolicy }), ...RESOURCES];
  return compileSnapshot(all, self(), VERSION);
}

function goes(
  snapshot: Snapshot,
  serverName: string | undefined,
  address: string,
  port = 443,
): string {
  const where = whereTo(
    snapshot,
    bytesTo(`${address}:${port}`),
    { originalDestination: { address, port }, serverName },
    undefined,
  );
  if (where.kind === "refused") return where.error.code;
  if (where.kind === "outside") return `outside ${where.host}`;
  const { key, endpoints } = where.destination.cluster;
  return `${key} → ${endpoints.map((each) => each.address).join()}`;
}

const below = (host: string): string => `wild.shop:443@${host}:443 → ${host}`;
const exact = "exact.shop:443 → api.example.test";

/** Server name, the address that the application chose, and where the bytes go; undefined: past all Services, or nowhere. */
const ROWS: readonly (readonly [
  serverName: string | undefined,
  address: string,
  expected: string | undefined,
  port?: number,
])[] = [
  ["a.example.test", ANYWHERE, below("a.example.test")],
  ["b.c.example.test", ANYWHERE, below("b.c.example.test")],
  // An exact host goes before a wildcard of its namespace.
  ["api.example.test", ANYWHERE, exact],
  ["x.api.example.test", ANYWHERE, below("x.api.example.test")],
  // The address says nothing: an allowed name opens its own host alone.
  ["a.example.test", "127.0.0.1", below("a.example.test")],
  ["a.example.test", "169.254.169.254", below("a.example.test")],
  ["example.test", ANYWHERE, undefined],
  ["aexample.test", ANYWHERE, undefined],
  ["a.example.test.evil.example", ANYWHERE, undefined],
  ["*.example.test", ANYWHERE, undefined],
  [undefined, ANYWHERE, undefined],
  ["a.example.test", ANYWHERE, undefined, 8443],
  // Bytes do not reach a port that is declared for HTTP (law 14).
  ["a.plain.test", ANYWHERE, undefined],
  // Who has the address is known: a name is no way around its policies.
  [
    "a.example.test",
    "10.0.0.9",
    "orders.shop:443@shop/orders-1:443 → 10.0.0.9",
  ],
  ["fixed.example", FIXED, `fixed.shop:443@${FIXED}:443 → ${FIXED}`],
];

for (const policy of ["ALLOW_ANY", "REGISTRY_ONLY"] as const)
  void t.test(`where the name leads, ${policy}`, (t) => {
    const snapshot = compile(policy);
    for (const [serverName, address, expected, port] of ROWS)
      t.equal(
        goes(snapshot, serverName, address, port),
        expected ??
          (policy === "ALLOW_ANY"
            ? `outside ${address}`
            : "UNKNOWN_DESTINATION"),
        `${serverName ?? "no name"} at ${address}:${port ?? 443}`,
      );
    t.end();
  });

/** What Node's TLS says first. */
async function helloOf(servername: string | undefined): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect({
    ...{ host: "127.0.0.1", port },
    ...(servername === undefined ? {} : { servername }),
  });
  socket.on("error", () => undefined);
  const [accepted] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(accepted, "data")) as [Buffer];
  accepted.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

void t.test("as the application's own TLS says it", async (t) => {
  const snapshot = compile("REGISTRY_ONLY");
  for (const [said, expected] of [
    ["a.example.test", below("a.example.test")],
    ["A.Example.TEST", below("a.example.test")],
    ["example.test", "UNKNOWN_DESTINATION"],
    [undefined, "UNKNOWN_DESTINATION"],
  ] as const) {
    const { serverName } = readClientHello(await helloOf(said)) ?? {};
    t.equal(goes(snapshot, serverName, ANYWHERE), expected, said ?? "no name");
  }
});
