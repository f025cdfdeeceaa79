/** What older sidecars are told of what they do not know: names of the trust domain, and whole kinds. */
import t from "tap";
import { NODE } from "../../../src/push/names.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  startWithOrders,
  until,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import {
  enrolRaw,
  openRaw,
  type RawSidecar,
} from "../../support/control-plane/raw-sidecar.ts";
import { received, withheld } from "../../support/control-plane/pushed.ts";

function deny(spec: Record<string, unknown>): Resource {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "orders", namespace: "shop" },
    spec: { selector: { matchLabels: { app: "web" } }, ...spec },
  };
}

/** Writes it, whatever is there; its version. */
async function write(
  plane: TestControlPlane,
  resource: Resource,
): Promise<string> {
  const { metadata } = await plane.store.put(resource, undefined);
  return metadata.resourceVersion ?? "";
}

let opened = 0;

async function open(
  plane: TestControlPlane,
  schema: string,
): Promise<RawSidecar> {
  return openRaw(
    t,
    plane.address,
    await enrolRaw(plane, `web-${(opened += 1)}`),
    {
      metadata: { [NODE.schema]: schema },
    },
  );
}

void t.test(
  "a kind that a sidecar does not know is not sent in any form, for it would refuse all that comes along",
  async (t) => {
    const plane = await startWithOrders(t);
    await write(plane, {
      apiVersion: "security.istio.io/v1",
      kind: "RequestAuthentication",
      metadata: { name: "tokens", namespace: "shop" },
      spec: { jwtRules: [{ issuer: "a", jwks: '{"keys":[]}' }] },
    });
    const older = await open(plane, "2");
    const { names } = await older.push();
    t.ok(names.length > 0);
    t.notOk(names.includes("RequestAuthentication/shop/tokens"));
    t.strictSame(await withheld(plane), {
      "RequestAuthentication shop/tokens": ["", "nothing"],
    });
  },
);

void t.test(
  "to a sidecar that compares principals as they are written, every name of the trust domain is spelled out",
  async (t) => {
    const plane = await startWithOrders(t);
    const name = "AuthorizationPolicy/shop/orders";
    const principals = ["old.example/ns/shop/sa/web"];
    const version = await write(
      plane,
      deny({ action: "DENY", rules: [{ from: [{ source: { principals } }] }] }),
    );
    const older = await open(plane, "2");
    await older.push();
    t.match(received(older.received, name), {
      metadata: { resourceVersion: version },
    });
    const heard = (): readonly unknown[] => {
      const { spec } = received(older.received, name) as Resource<{
        rules: { from: { source: { principals: unknown[] } }[] }[];
      }>;
      return spec.rules[0]?.from[0]?.source.principals ?? [];
    };
    for (const [aliases, meant] of [
      [
        ["old.example"],
        ["cluster.local/ns/shop/sa/web", "old.example/ns/shop/sa/web"],
      ],
      [[], principals],
    ] as const) {
      await write(plane, mesh(aliases));
      const { names } = await older.push();
      t.ok(names.includes(name), "it hears of it with the Mesh");
      t.strictSame(heard(), meant);
      t.same(await withheld(plane), {}, "nothing is withheld");
      await until(
        async () => (await plane.push.status())[0]?.pending === false,
      );
      t.match(
        plane.push.inForce(
          { kind: "AuthorizationPolicy", namespace: "shop", name: "orders" },
          version,
        ),
        { have: 1, of: 1 },
      );
    }
  },
);

function mesh(trustDomainAliases: readonly string[]): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Mesh",
    metadata: { name: "default" },
    spec: { authorization: { defaultAction: "ALLOW" }, trustDomainAliases },
  };
}
