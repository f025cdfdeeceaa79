import t from "tap";
import { heldView } from "../../../src/agent/interest/held-view.ts";
import type { ReceivedResources } from "../../../src/agent/staging.ts";
import { resourceName } from "../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import { resource } from "../../support/meshes/pair.ts";
import {
  route,
  service,
} from "../../support/control-plane/push-control-plane.ts";

function received(...resources: readonly Resource[]): ReceivedResources {
  return new Map(
    resources.map((each) => [
      resourceName(keyOf(each)),
      { version: "1", bytes: 100, resource: each },
    ]),
  );
}

function split(parent: string, ...backends: string[]): Resource {
  const base = route(parent, parent);
  return {
    ...base,
    spec: {
      parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: parent }],
      rules: [
        {
          backendRefs: backends.map((name) => ({ name, port: 80 })),
          filters: [
            {
              type: "RequestMirror",
              requestMirror: { backendRef: { name: "shadow", port: 80 } },
            },
          ],
        },
      ],
    },
  };
}

void t.test("each Service that is held has its reason", (t) => {
  const names = [
    ...["web", "orders", "orders-v2", "orders-v3", "shadow"],
    ...["stock", "asked", "cards", "unknown"],
  ];
  t.same(
    heldView({
      resources: received(
        resource("Mesh", "default", {}),
        ...names.map((name) => service(name)),
        split("orders", "orders-v2"),
        split("orders-v2", "orders-v3"),
        split("unknown", "orders"),
      ),
      own: new Set(["shop/web"]),
      uses: new Map([
        ["shop/orders", 3],
        ["shop/stock", undefined],
        ["shop/gone", 1],
      ]),
      questions: [
        {
          question: "Host//asked.shop",
          services: ["shop/asked"],
          idleMinutes: 5,
        },
        { question: "Host//later.shop", idleMinutes: 0 },
      ],
    }),
    {
      services: [
        { service: "shop/asked", why: "asked" },
        { service: "shop/cards", why: "leaving" },
        { service: "shop/orders", why: "used", idleMinutes: 3 },
        { service: "shop/orders-v2", why: "with shop/orders" },
        { service: "shop/orders-v3", why: "with shop/orders-v2" },
        { service: "shop/shadow", why: "with shop/orders" },
        { service: "shop/stock", why: "declared" },
        { service: "shop/unknown", why: "leaving" },
        { service: "shop/web", why: "self" },
      ],
      questions: [
        {
          question: "Host//asked.shop",
          services: ["shop/asked"],
          idleMinutes: 5,
        },
        { question: "Host//later.shop", idleMinutes: 0 },
      ],
    },
  );
  t.end();
});

void t.test("what comes with a used Service is told from it", (t) => {
  const external = (name: string, ...hosts: string[]): Resource =>
    service(name, { selector: undefined, hosts });
  const { services } = heldView({
    resources: received(
      ...["web", "a", "a-v2", "shadow", "ring-1", "ring-2"].map((name) =>
        service(name),
      ),
      external("bank", "bank.example"),
      external("other-bank", "bank.example", "more.example"),
      external("third-bank", "more.example"),
      split("a", "a-v2", "a"),
      split("ring-1", "ring-2"),
      split("ring-2", "ring-1"),
      split("web", "a"),
    ),
    own: new Set(["shop/web"]),
    uses: new Map([
      ["shop/a", 0],
      ["shop/bank", 0],
      ["shop/ring-1", 0],
    ]),
    questions: [],
  });
  t.same(
    services.map(({ service, why }) => [service, why]),
    [
      ["shop/a", "used"],
      ["shop/a-v2", "with shop/a"],
      ["shop/bank", "used"],
      ["shop/other-bank", "with shop/bank"],
      ["shop/ring-1", "used"],
      ["shop/ring-2", "with shop/ring-1"],
      ["shop/shadow", "with shop/a"],
      ["shop/third-bank", "with shop/other-bank"],
      ["shop/web", "self"],
    ],
  );
  t.end();
});
