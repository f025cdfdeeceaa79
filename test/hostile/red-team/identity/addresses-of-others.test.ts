/** A workload with a certificate tries to get the calls to addresses that are not its own: by registering them, by its namespace's editor, first or later (law 13). */
import t from "tap";
import { call, openClient } from "../../../../src/agent/connection.ts";
import { enrol } from "../../../../src/agent/enrolment/enrol.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { messageOf } from "../../../../src/core/errors.ts";
import { REGISTRATION } from "../../../../src/push/services.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import {
  until,
  type Scope,
} from "../../../support/control-plane/push-control-plane.ts";
import {
  withLiveMesh,
  type LiveMesh,
} from "../../../support/meshes/live-mesh.ts";

const OWN = "mesh.wherry.dev/v1alpha1";

interface Registrant {
  /** "registered", or why not. */
  register(address: string, ports: Record<string, number>): Promise<string>;
}

async function registrant(
  t: Scope,
  mesh: LiveMesh,
  account: string,
): Promise<Registrant> {
  const { text, address } = await mesh.token(account);
  const signal = new AbortController().signal;
  const credentials = await enrol({
    address,
    token: text,
    name: `${account.split("/")[1] ?? ""}-9`,
    clock: systemClock,
    signal,
  });
  const client = openClient({
    address,
    trustBundle: credentials.trustBundle,
    credentials,
    maxMessageBytes: -1,
    clock: systemClock,
  });
  t.after(() => client.close());
  return {
    register: (at, ports) =>
      call(
        client,
        REGISTRATION.Register,
        { spec: JSON.stringify({ address: at, ports, ready: true }) },
        { clock: systemClock, timeout: 5000, signal },
      ).then(
        () => "registered",
        (thrown: unknown) => messageOf(thrown),
      ),
  };
}

function service(name: string, ports: readonly number[]): Resource {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: OWN,
    kind: "Service",
    metadata: { name: short, namespace },
    spec: {
      ports: ports.map((port) => ({ name: `p${port}`, port })),
      selector: { app: short },
    },
  };
}

function workload(
  name: string,
  app: string,
  address: string,
  port: number,
): Resource {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: OWN,
    kind: "Workload",
    metadata: { name: short, namespace, labels: { app } },
    spec: { address, ports: { [`p${port}`]: port }, serviceAccount: app },
  };
}

/** Nobody's, or not the thief's. */
const PLACES: readonly (readonly [string, number, RegExp])[] = [
  ["10.99.0.2", 80, /not the address that this sidecar calls from/],
  ["127.0.0.2", 80, /not the address that this sidecar calls from/],
  ["::1", 80, /not the address|registered/],
  ["localhost", 22, /expected an IP address/],
  ["orders.shop", 80, /expected an IP address/],
  ["169.254.169.254", 80, /link-local/],
  ["fe80::1", 80, /link-local/],
  ["0.0.0.0", 80, /unspecified/],
  ["::", 80, /unspecified/],
  ["224.0.0.1", 80, /multicast/],
  ["255.255.255.255", 80, /broadcast/],
  ["127.0.0.1", 7001, /127\.0\.0\.1:7001 belongs to Workload shop\/orders-9/],
  ["::ffff:127.0.0.1", 7001, /belongs to Workload shop\/orders-9/],
  ["127.0.0.1", 7002, /127\.0\.0\.1:7002 belongs to Workload shop\/legacy/],
];

void t.test(
  "no captured call to another's address goes to who claims it",
  async (t) => {
    await withLiveMesh(async (mesh) => {
      // The thief's Service is the oldest there is, and exported to everybody.
      await mesh.admin.put(service("evil/thief", [22, 80, 7001, 7002, 7003]));
      await mesh.admin.put(service("shop/orders", [7001]));
      await mesh.admin.put(service("shop/legacy", [7002]));
      const legacy = workload("shop/legacy", "legacy", "127.0.0.1", 7002);
      t.equal((await mesh.admin.put(legacy)).status, 201);
      const orders = await registrant(t, mesh, "shop/orders");
      t.equal(
        await orders.register("127.0.0.1", { p7001: 7001 }),
        "registered",
      );
      const thief = await registrant(t, mesh, "evil/thief");
      const got: Record<string, string> = {};
      for (const [address, port, message] of PLACES) {
        const result = await thief.register(address, { [`p${port}`]: port });
        got[`${address} ${port}`] = result;
        t.match(result, message, `${address}:${port}`);
      }
      t.equal(
        await thief.register("127.0.0.1", { p7003: 7003 }),
        "registered",
        "its own address and port are its own",
      );

      // the same by a person of its namespace
      const editor = await mesh.tenant("editor", ["evil"]);
      for (const [address, port] of PLACES)
        t.not(
          (await editor.put(workload("evil/w", "thief", address, port))).status,
          201,
          `${address}:${port} by an editor`,
        );
      // and by an administrator's mistake
      for (const port of [7001, 7002])
        t.equal(
          (await mesh.admin.put(workload("evil/w", "thief", "127.0.0.1", port)))
            .status,
          422,
        );

      const web = await mesh.sidecar("shop/web");
      const snapshot = await web.settled();
      const leads = (address: string, port: number): string | undefined =>
        snapshot.destinationByAddress(address, port)?.key;
      t.equal(leads("127.0.0.1", 7001), "orders.shop:7001");
      t.equal(leads("127.0.0.1", 7002), "legacy.shop:7002");
      t.equal(leads("127.0.0.1", 7003), "thief.evil:7003");
      for (const [address, port] of PLACES)
        t.notMatch(
          leads(address, port) ?? "nobody",
          /thief/,
          `${address}:${port} does not lead to the thief`,
        );
    });
  },
);

void t.test(
  "what stands in the store of a build before is decided the same way: a registration first, then the oldest",
  async (t) => {
    await withLiveMesh(async (mesh) => {
      await mesh.admin.put(service("evil/thief", [7001, 7002]));
      await mesh.admin.put(service("shop/orders", [7001]));
      await mesh.admin.put(service("shop/legacy", [7002]));
      // Past the API: as a build without these checks took them.
      const { store } = mesh;
      await store.put(
        workload("evil/w1", "thief", "127.0.0.1", 7001),
        "absent",
      );
      await store.put(
        workload("shop/l", "legacy", "127.0.0.1", 7002),
        "absent",
      );
      // Ages are told apart by the millisecond.
      const written = systemClock.wall();
      await until(() => systemClock.wall() > written);
      await store.put(
        workload("evil/w2", "thief", "127.0.0.1", 7002),
        "absent",
      );
      const registered = workload("shop/o", "orders", "127.0.0.1", 7001);
      await store.put(
        {
          ...registered,
          metadata: {
            ...registered.metadata,
            annotations: {
              "mesh.wherry.dev/registered-by":
                "spiffe://cluster.local/ns/shop/sa/orders",
            },
          },
        },
        "absent",
      );
      const web = await mesh.sidecar("shop/web");
      const snapshot = await web.settled();
      const leads = (port: number): string | undefined =>
        snapshot.destinationByAddress("127.0.0.1", port)?.key;
      t.equal(leads(7001), "orders.shop:7001");
      t.equal(leads(7002), "legacy.shop:7002");
      t.match(
        snapshot.warnings.join("\n"),
        /Workload evil\/w1 does not get calls to 127\.0\.0\.1:7001: it belongs to Workload shop\/o/,
      );
      const loser = workload("evil/w2", "thief", "127.0.0.1", 7002);
      const { conditions } = await mesh.admin.get(loser);
      t.match(conditions["Conflicted"], {
        status: "True",
        reason: "AddressTaken",
        message: /127\.0\.0\.1:7002 belongs to Workload shop\/l/,
      });
    });
  },
);
