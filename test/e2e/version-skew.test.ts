// Sidecars of an older version under a newer control plane, with every new field in use, and the other way round.
import { SCHEMA_VERSION } from "../../src/push/names.ts";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SidecarStatus } from "../../src/control-plane/push/status.ts";
import { systemClock, timestamp } from "../../src/core/clock.ts";
import { kindNamed } from "../../src/resources/registry.ts";
import { runCli } from "../support/control-plane/cli.ts";
import {
  call,
  closeCalls,
  eventually,
  type Called,
} from "../support/peers/call.ts";
import {
  startPlane,
  type PlaneProcess,
} from "../support/processes/plane-process.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../support/processes/sidecar-process.ts";
import { NEW } from "../support/recorded/new-since.ts";
import { nextVersion, recordedVersion } from "../support/recorded/versions.ts";

/** Milliseconds for what takes one on an idle machine. */
const PATIENCE = 60_000;
const RECORDED = recordedVersion();
const NEXT = nextVersion();
const directory = mkdtempSync(join(tmpdir(), "wherry-skew-"));
t.teardown(() => {
  closeCalls();
  RECORDED.remove();
  NEXT.remove();
  rmSync(directory, { recursive: true, force: true });
});

type Spec = Readonly<Record<string, unknown>>;

async function put(
  plane: PlaneProcess,
  kind: string,
  name: string,
  spec: Spec,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const definition = kindNamed(kind);
  if (definition === undefined) throw new Error(kind);
  const { apiVersion, plural, namespaced } = definition;
  const path = namespaced ? `namespaces/shop/${plural}` : plural;
  const { status, text } = await plane.ask(
    "PUT",
    `/apis/${apiVersion}/${path}/${name}`,
    {
      apiVersion,
      kind,
      metadata: { name, ...more, ...(namespaced ? { namespace: "shop" } : {}) },
      spec,
    },
  );
  if (status >= 300) throw new Error(`${kind} is refused: ${status} ${text}`);
}

/** Port of an application that responds with its name. */
async function application(t: Test, name: string): Promise<number> {
  const server = createServer((_request, response) => response.end(name));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** An instance without a sidecar, in the place of what had its name before. */
async function instance(
  t: Test,
  plane: PlaneProcess,
  name: string,
): Promise<void> {
  await put(
    plane,
    "Workload",
    "orders-plain",
    {
      address: "127.0.0.1",
      ports: { http: await application(t, name) },
    },
    { labels: { app: "orders" } },
  );
}

interface Shop {
  readonly plane: PlaneProcess;
  start(name: string, main?: string): Promise<SidecarProcess>;
  status(name: string): Promise<SidecarStatus | undefined>;
  /** As `wherry status` prints it. */
  printed(): Promise<string>;
}

async function startShop(t: Test, main?: string): Promise<Shop> {
  const root = mkdtempSync(join(directory, "shop-"));
  const plane = await startPlane(
    join(root, "plane"),
    main === undefined ? {} : { main },
  );
  t.teardown(() => plane.process.stop());
  return {
    plane,
    async start(name, version) {
      const [account = ""] = name.split("-");
      const sidecar = await startSidecarProcess({
        push: plane.push,
        account,
        name,
        state: join(root, name),
        application: await application(t, name),
        token: await plane.token(account),
        ...(version === undefined ? {} : { main: version }),
      });
      t.teardown(() => sidecar.process.stop());
      await untilReady(name, sidecar, "/readyz");
      return sidecar;
    },
    async status(name) {
      const { text } = await plane.ask("GET", "/status");
      const { sidecars } = JSON.parse(text) as {
        sidecars: readonly SidecarStatus[];
      };
      return sidecars.find((each) => each.name === name);
    },
    async printed() {
      const token = readFileSync(
        join(root, "plane", "admin.token"),
        "utf8",
      ).trim();
      const { out, err } = await runCli(["status", "--server", plane.api], {
        environment: { WHERRY_TOKEN: token },
      });
      return out + err;
    },
  };
}

function get(sidecar: SidecarProcess, host = "orders.shop"): Promise<Called> {
  return call(`http://127.0.0.1:${sidecar.outbound}/`, { headers: { host } });
}

async function servedBy(
  what: string,
  sidecar: SidecarProcess,
  name: string,
  host?: string,
): Promise<Called> {
  return eventually(
    `${what}: served by ${name}`,
    PATIENCE,
    () => get(sidecar, host),
    ({ text }) => text === name,
  );
}

const ref = (more: Spec = {}): Spec => ({
  group: "mesh.wherry.dev",
  kind: "Service",
  name: "orders",
  ...more,
});

const MESH: Spec = { authorization: { defaultAction: "ALLOW" } };
const ORDERS: Spec = {
  ports: [{ name: "http", port: 80 }],
  selector: { app: "orders" },
};
const route = (value: string): Spec => ({
  parentRefs: [ref()],
  rules: [
    {
      filters: [
        {
          type: "ResponseHeaderModifier",
          responseHeaderModifier: { set: [{ name: "x-route", value }] },
        },
      ],
      backendRefs: [{ name: "orders", port: 80 }],
    },
  ],
});
const LIMITS: Spec = {
  targetRefs: [ref()],
  loadBalancer: { simple: "ROUND_ROBIN" },
};
const STRICT: Spec = {
  selector: { matchLabels: { app: "orders" } },
  mtls: { mode: "STRICT" },
};
const ALLOW: Spec = {
  selector: { matchLabels: { app: "orders" } },
  rules: [{ from: [{ source: { namespaces: ["shop"] } }] }],
};

void t.test(
  "older sidecars under a newer control plane, with every new field in use",
  async (t) => {
    const shop = await startShop(t, NEXT.main);
    const { plane } = shop;
    await put(plane, "Mesh", "default", MESH);
    await put(plane, "Service", "orders", ORDERS);
    await put(plane, "HTTPRoute", "orders", route("first"));
    await put(plane, "TrafficPolicy", "orders", LIMITS);
    await put(plane, "PeerAuthentication", "orders", STRICT);
    await put(plane, "AuthorizationPolicy", "orders", ALLOW);
    const first = await shop.start("orders-1", NEXT.main);
    const recorded = await shop.start("web-1", RECORDED.main);
    const present = await shop.start("web-2");
    for (const caller of [recorded, present]) {
      const { headers } = await servedBy("at first", caller, "orders-1");
      t.equal(headers["x-route"], "first");
    }

    const tomorrow = { tomorrow: true };
    await put(plane, "Mesh", "default", {
      ...MESH,
      ...tomorrow,
      mtls: { renewExpiredFor: "24h" },
    });
    await put(plane, "Service", "orders", { ...ORDERS, ...tomorrow });
    await put(plane, "HTTPRoute", "orders", {
      ...route("second"),
      ...tomorrow,
    });
    await put(plane, "TrafficPolicy", "orders", { ...LIMITS, ...tomorrow });
    await put(plane, "PeerAuthentication", "orders", {
      ...STRICT,
      ...tomorrow,
    });
    await put(plane, "AuthorizationPolicy", "orders", {
      ...ALLOW,
      ...tomorrow,
    });
    await put(plane, "FaultInjection", "orders", {
      targetRefs: [ref()],
      abort: { httpStatus: 503, percentage: 100 },
      expiresAt: timestamp(systemClock.wall() + 3_600_000),
      ...tomorrow,
    });
    await instance(t, plane, "orders-2");
    first.process.signal("SIGINT");
    for (const [what, caller] of Object.entries({ recorded, present })) {
      const { headers } = await servedBy(what, caller, "orders-2");
      t.equal(headers["x-route"], "first", `${what}: the route stays`);
    }

    for (const [name, schema] of [
      ["web-1", 2],
      ["web-2", SCHEMA_VERSION],
    ] as const) {
      const status = await shop.status(name);
      if (status === undefined) throw new Error(`${name} is not known`);
      t.equal(status.agent.schema, schema, name);
      t.equal(status.refused, undefined, `${name} refuses nothing`);
      t.strictSame(
        Object.fromEntries(
          (status.withheld?.resources ?? []).map(
            ({ resource, fields, instead }) => [
              resource,
              `${fields.join()} ${instead}`,
            ],
          ),
        ),
        {
          "Mesh default": "spec.tomorrow older",
          "Service shop/orders": "spec.tomorrow older",
          "HTTPRoute shop/orders": "spec.tomorrow older",
          "TrafficPolicy shop/orders": "spec.tomorrow older",
          "FaultInjection shop/orders": "spec.tomorrow nothing",
        },
        name,
      );
    }
    t.equal((await shop.status("orders-1"))?.withheld, undefined);
    const printed = await shop.printed();
    t.match(
      printed,
      /^shop\/web-1 \(version [0-9.]+, schema 2\) does not know all of 5 resources:$/m,
    );
    t.match(
      printed,
      /^ {2}HTTPRoute shop\/orders: spec\.tomorrow; the version that it has stays in force$/m,
    );

    // What the table misses.
    await put(plane, "Service", "ledger", { ...ORDERS, overmorrow: true });
    await servedBy("the rest of a Service", present, "orders-2", "ledger.shop");
    // The acknowledgement comes after the config is in force.
    const unread = await eventually(
      "the report arrives",
      PATIENCE,
      async () => (await shop.status("web-2"))?.unread,
      (report) => report !== undefined,
    );
    t.strictSame(unread, {
      count: 1,
      resources: [
        {
          resource: "Service shop/ledger",
          fields: ["spec.overmorrow"],
          instead: "rest",
        },
      ],
    });
    t.match(
      await shop.printed(),
      /^ {2}Service shop\/ledger: spec\.overmorrow; the rest of it is in force$/m,
    );
  },
);

/** The caller, by a name of its trust domain that only an alias makes one. */
const OLD_NAME = "old.example/ns/shop/sa/web";
void t.test(
  "a recorded sidecar at both ends, with each new kind and value in use",
  async (t) => {
    const shop = await startShop(t);
    const { plane } = shop;
    const mesh: Spec = {
      authorization: {
        defaultAction: "ALLOW",
        providers: [{ name: "opa", grpc: { address: "127.0.0.1:1" } }],
      },
      trustDomainAliases: ["old.example"],
    };
    await put(plane, "Mesh", "default", mesh);
    for (const app of ["orders", "ledger"])
      await put(plane, "Service", app, { ...ORDERS, selector: { app } });
    await put(plane, "AuthorizationPolicy", "orders", ALLOW);
    const first = await shop.start("orders-1", RECORDED.main);
    await shop.start("ledger-1", RECORDED.main);
    const web = await shop.start("web-1", RECORDED.main);
    await servedBy("at first", web, "orders-1");
    await servedBy("at first", web, "ledger-1", "ledger.shop");

    for (const [kind, name, spec, , metadata] of NEW)
      await put(plane, kind, name, spec, metadata);
    await put(plane, "AuthorizationPolicy", "ledger", {
      selector: { matchLabels: { app: "ledger" } },
      action: "DENY",
      rules: [{ from: [{ source: { principals: [OLD_NAME] } }] }],
    });
    await eventually(
      "a DENY by another name of the trust domain is in force",
      PATIENCE,
      () => get(web, "ledger.shop"),
      ({ status }) => status === 403,
    );
    await servedBy("policies that change no verdict", web, "orders-1");
    const said = await eventually(
      "what is withheld",
      PATIENCE,
      async () => {
        const all: Record<string, string> = {};
        for (const name of ["web-1", "orders-1", "ledger-1"]) {
          const status = await shop.status(name);
          t.equal(status?.refused, undefined, `${name} refuses nothing`);
          const withheld = status?.withheld?.resources ?? [];
          for (const { resource, fields, instead } of withheld)
            all[resource] = `${fields.join()} ${instead}`;
        }
        return all;
      },
      (all) => Object.keys(all).length === NEW.length,
    );
    t.strictSame(
      said,
      Object.fromEntries(
        NEW.map(([kind, name, , what]) => [
          kind === "Revocation" ? `${kind} ${name}` : `${kind} shop/${name}`,
          what,
        ]),
      ),
    );
    t.match(await shop.printed(), /^ {2}Revocation gone: .*$/m);
    await instance(t, plane, "orders-2");
    first.process.signal("SIGINT");
    await servedBy("an endpoint that came later", web, "orders-2");
  },
);

void t.test(
  "sidecars of this version under an older control plane",
  async (t) => {
    const shop = await startShop(t, RECORDED.main);
    await put(shop.plane, "Mesh", "default", MESH);
    await put(shop.plane, "Service", "orders", ORDERS);
    await instance(t, shop.plane, "orders-1");
    const web = await shop.start("web-1");
    await servedBy("at first", web, "orders-1");
    await instance(t, shop.plane, "orders-2");
    await servedBy("another instance", web, "orders-2");
    await put(shop.plane, "HTTPRoute", "orders", route("new"));
    await eventually(
      "the route arrives",
      PATIENCE,
      () => get(web),
      ({ headers }) => headers["x-route"] === "new",
    );
    const status = await shop.status("web-1");
    t.match(status, { connected: true, agent: { schema: SCHEMA_VERSION } });
    t.equal(status?.refused, undefined);
    t.match(await shop.printed(), /^shop\/web-1 +connected +ready/m);
  },
);
