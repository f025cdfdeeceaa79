/** Services that lead to the same endpoints: each keeps which they are, and what many share costs no more than their number (law 16). */
import t from "tap";
import {
  emptyClosure,
  extend,
} from "../../../../src/control-plane/push/catalogue/closure.ts";
import {
  Item,
  resourceEntry,
} from "../../../../src/control-plane/push/catalogue/item.ts";
import { MeshIndex } from "../../../../src/control-plane/push/catalogue/mesh-index.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import {
  service,
  workload,
} from "../../../support/resources/policy-fixtures.ts";

function indexOf(resources: readonly Resource[]): MeshIndex {
  const index = new MeshIndex();
  for (const [slot, resource] of resources.entries()) {
    const item = new Item(resourceName(keyOf(resource)), slot);
    item.entry = resourceEntry(item, resource, () => undefined);
    index.change(item, undefined, resource);
  }
  return index;
}

const web = (name: string): Resource =>
  service(`shop/${name}`, { selector: { app: "web" } });

void t.test("what one Service alone leads to is not shared", (t) => {
  const index = indexOf([
    web("a"),
    service("shop/b"),
    workload("shop/web-1", "web"),
    workload("shop/web-2", "web", { address: "10.0.0.2" }),
  ]);
  t.strictSame(index.shared.of("shop/a"), []);
  t.strictSame(index.shared.of("shop/b"), []);
  t.strictSame(index.shared.of("shop/nowhere"), []);
  t.end();
});

void t.test("endpoints are shared by selection and by address", (t) => {
  const index = indexOf([
    web("a"),
    web("b"),
    service("shop/c"),
    service("shop/outside", {
      location: "MESH_EXTERNAL",
      resolution: "STATIC",
      hosts: ["outside.example"],
      ports: [{ port: 8080 }],
      endpoints: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
    }),
    workload("shop/web-1", "web", { address: "10.0.0.1" }),
    workload("shop/c-1", "c", { address: "10.0.0.3" }),
  ]);
  const both = ["10.0.0.1:8080", "10.0.0.1:15008"];
  t.strictSame(index.shared.of("shop/a"), both);
  t.strictSame(index.shared.of("shop/b"), both);
  t.strictSame(index.shared.of("shop/c"), ["10.0.0.3:8080"]);
  t.strictSame(index.shared.of("shop/outside"), ["10.0.0.3:8080"]);
  t.end();
});

void t.test("a Workload without ports is shared as itself", (t) => {
  const spec = { address: "10.0.0.1", serviceAccount: "web" };
  const bare: Resource = { ...workload("shop/web-1", "web"), spec };
  const index = indexOf([web("a"), web("b"), bare]);
  const [shared] = index.shared.of("shop/a");
  t.equal(shared, index.items.get("Workload/shop/web-1"));
  const closure = emptyClosure();
  extend(closure, ["shop/a"], { namespace: "shop" }, index);
  t.strictSame([...closure.services].sort(), ["shop/a", "shop/b"]);
  t.end();
});

/** Names of Services that are looked at for the closure of one of so many that all share three Workloads. */
function looksFor(count: number): { looks: number; kept: number } {
  const names = Array.from({ length: count }, (_, at) => `s${at}`);
  const index = indexOf([
    ...names.map(web),
    ...[1, 2, 3].map((at) =>
      workload(`shop/web-${at}`, "web", { address: `10.0.0.${at}` }),
    ),
  ]);
  let looks = 0;
  const { selection } = index;
  const servicesOf = selection.servicesOf.bind(selection);
  class Counted extends Set<string> {
    override *[Symbol.iterator](): SetIterator<string> {
      for (const each of super.values()) {
        looks += 1;
        yield each;
      }
      return undefined;
    }
  }
  selection.servicesOf = (item) => new Counted(servicesOf(item));
  const closure = emptyClosure();
  extend(closure, ["shop/s0"], { namespace: "shop" }, index);
  if (closure.services.size !== count) throw new Error("too few are found");
  let kept = 0;
  for (const name of names) kept += index.shared.of(`shop/${name}`).length;
  return { looks, kept };
}

void t.test("what many share costs in proportion to their number", (t) => {
  const some = looksFor(200);
  const more = looksFor(400);
  t.ok(some.looks >= 200, "looks are counted");
  t.ok(more.looks <= 2 * some.looks, `${some.looks}, then ${more.looks}`);
  t.equal(some.kept, 200 * 6, "two ports of each of three Workloads");
  t.equal(more.kept, 400 * 6);
  t.end();
});
