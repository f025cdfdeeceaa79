/** An editor of one namespace tries to be `orders` and `api.partner.example` for everybody, and to get the bearer tokens of their callers. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { call, closeCalls } from "../../../support/peers/call.ts";
import { withLiveMesh } from "../../../support/meshes/live-mesh.ts";

const OWN = "mesh.wherry.dev/v1alpha1";
const TOKEN = "Bearer of-a-caller";

interface Listening {
  readonly server: Server;
  readonly port: number;
  /** Authorization fields that came, one a request. */
  readonly got: (string | undefined)[];
}

async function application(host: string, port = 0): Promise<Listening> {
  const got: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    got.push(request.headers.authorization);
    response.end("ok");
  });
  server.listen(port, host);
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port, got };
}

function external(
  name: string,
  hosts: readonly string[],
  port: number,
  spec: Record<string, unknown> = {},
): Resource {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: OWN,
    kind: "Service",
    metadata: { name: short, namespace },
    spec: {
      location: "MESH_EXTERNAL",
      hosts,
      resolution: "STATIC",
      endpoints: [{ address: "127.0.0.2" }],
      ports: [{ name: "http", port, appProtocol: "http" }],
      ...spec,
    },
  };
}

const HOSTS_THAT_ARE_OURS = [
  "orders",
  "orders.shop",
  "not-there-yet.shop",
  "orders.shop.svc",
  "not-there-yet.nowhere.svc",
  "orders.shop.svc.cluster.local",
  "not-there-yet.nowhere.svc.cluster.local",
  "localhost",
  "*.partner.example",
  "API.partner.example",
  "api.partner.example.",
  "10.0.0.7",
  "127.1",
  "0x7f.1",
] as const;

void t.test(
  "an editor of namespace evil gets no call that another namespace makes",
  async (t) => {
    const thief = await application("127.0.0.2");
    const orders = await application("127.0.0.1");
    const partner = await application("127.0.0.3", thief.port);
    const { port } = thief;
    await withLiveMesh(async (mesh) => {
      const evil = await mesh.tenant("editor", ["evil"]);
      const own: Resource = {
        apiVersion: OWN,
        kind: "Service",
        metadata: { name: "orders", namespace: "shop" },
        spec: {
          ports: [{ name: "http", port, targetPort: orders.port }],
          selector: { app: "orders" },
        },
      };
      const workload: Resource = {
        apiVersion: OWN,
        kind: "Workload",
        metadata: {
          name: "orders-1",
          namespace: "shop",
          labels: { app: "orders" },
        },
        spec: { address: "127.0.0.1", ports: { http: orders.port } },
      };
      const bank = external("bank/partner", ["api.partner.example"], port, {
        endpoints: [{ address: "127.0.0.3" }],
      });
      for (const resource of [own, workload])
        t.match((await mesh.admin.put(resource)).status, /20[01]/);
      const web = await mesh.sidecar("shop/web");

      // claims for everybody, by the absent exportTo and by each way to write it
      const claims: readonly [Resource, number][] = [
        [external("evil/absent", ["api.partner.example"], port), 403],
        ...[["*"], ["shop"], [".", "shop"]].map(
          (exportTo, index): [Resource, number] => [
            external(`evil/said-${index}`, ["api.partner.example"], port, {
              exportTo,
            }),
            403,
          ],
        ),
        ...HOSTS_THAT_ARE_OURS.map((host, index): [Resource, number] => [
          external(`evil/ours-${index}`, [host], port),
          422,
        ]),
        [
          external("evil/its-own", ["api.partner.example"], port, {
            exportTo: ["."],
          }),
          201,
        ],
      ];
      let taken = 0;
      for (const [claim, expected] of claims) {
        const { status, text } = await evil.put(claim);
        if (status < 300 && expected >= 300) taken += 1;
        t.equal(
          status,
          expected,
          `${claim.metadata.name}: ${text.slice(0, 300)}`,
        );
      }
      t.comment(`claims for other namespaces that were taken: ${taken}`);

      // a namespace that may export claims the host; a later one is told who has it
      t.equal((await mesh.admin.put(bank)).status, 201);
      const late = external("late/partner", ["api.partner.example"], port);
      t.equal((await mesh.admin.put(late)).status, 201);
      t.match((await mesh.admin.get(late)).conditions, {
        Conflicted: {
          status: "True",
          reason: "HostTaken",
          message: /api\.partner\.example belongs to Service (bank|evil)\//,
        },
      });
      t.match((await mesh.admin.get(bank)).conditions, {
        Conflicted: {
          status: "True",
          message: /evil\/its-own for callers in namespace evil/,
        },
      });

      await web.settled();
      for (const host of [
        "orders",
        "orders.shop",
        "orders.shop.svc",
        "api.partner.example",
        "API.partner.example.",
      ])
        await call(`http://127.0.0.1:${web.outbound}/`, {
          headers: { host: `${host}:${port}`, authorization: TOKEN },
        });
      t.comment(
        `calls with a bearer token that reached the thief: ${thief.got.length} of 5`,
      );
      t.same(thief.got, [], "the thief gets nothing");
      t.same(orders.got, [TOKEN, TOKEN, TOKEN], "orders gets its own calls");
      t.same(partner.got, [TOKEN, TOKEN], "and so does the first to claim");
    });
    for (const { server } of [thief, orders, partner]) {
      server.closeAllConnections();
      server.close();
    }
    closeCalls();
  },
);
