/** Which host a health check of an external Service names: the one that callers know the endpoint by. */
import { once } from "node:events";
import { createServer } from "node:http";
import t from "tap";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import { headOf } from "../../../../src/proxy/upstream/cluster/health-check.ts";
import { resource, until, withPair } from "../../../support/meshes/pair.ts";
import {
  self,
  service,
  VERSION,
} from "../../../support/resources/policy-fixtures.ts";

for (const { spec, named } of [
  {
    spec: {
      resolution: "STATIC",
      hosts: ["legacy.example"],
      endpoints: [{ address: "192.0.2.1" }, { address: "192.0.2.2" }],
    },
    named: ["legacy.example", "legacy.example"],
  },
  {
    spec: { resolution: "DNS", hosts: ["a.example", "b.example"] },
    named: ["a.example", "b.example"],
  },
] as const)
  void t.test(`${spec.resolution}: ${spec.hosts.join(" and ")}`, (t) => {
    const snapshot = compileSnapshot(
      [
        service("shop/w", {
          ...spec,
          location: "MESH_EXTERNAL",
          ports: [{ port: 80, appProtocol: "http" }],
        }),
      ],
      self(),
      VERSION,
    );
    const cluster = snapshot.destination("w.shop", 80)?.cluster;
    if (cluster === undefined) throw new Error("it leads nowhere");
    t.strictSame(
      cluster.endpoints.map(
        (endpoint) => headOf({ cluster, endpoint }).authority,
      ),
      named,
    );
    t.end();
  });

void t.test("a check in plaintext names the host, too", async (t) => {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/healthz") asked.push(request.headers.host);
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.teardown(() => server.close());
  const address = server.address();
  const targetPort =
    address !== null && typeof address === "object" ? address.port : 0;
  await withPair(
    {
      resources: [
        resource("Service", "legacy", {
          location: "MESH_EXTERNAL",
          hosts: ["legacy.example"],
          resolution: "STATIC",
          endpoints: [{ address: "127.0.0.1" }],
          ports: [{ port: 80, targetPort, appProtocol: "http" }],
        }),
        resource("TrafficPolicy", "legacy", {
          targetRefs: [{ kind: "Service", name: "legacy" }],
          healthCheck: { path: "/healthz", interval: "100ms" },
        }),
      ],
    },
    async (pair) => {
      t.equal((await pair.call({ host: "legacy.example" })).status, 200);
      await until(() => asked.length > 0);
      t.equal(asked[0], "legacy.example");
    },
  );
});
