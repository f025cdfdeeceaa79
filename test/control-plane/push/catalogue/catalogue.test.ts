import t from "tap";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import type { Entry } from "../../../../src/control-plane/push/catalogue/item.ts";
import {
  difference,
  type ScopedSet,
} from "../../../../src/control-plane/push/catalogue/scoped-set.ts";
import { digestOf, resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import { MESH, route, service } from "../../../support/push-control-plane.ts";
import {
  at,
  randomResource,
  randomViewer,
} from "../../../support/random-mesh.ts";
import { seeded, type Draw } from "../../../support/random-policy.ts";
import { scope } from "../../../support/scope-oracle.ts";

const SELF = { namespace: "shop", labels: {}, name: "web-1" };

void t.test("an older version than the one there is says nothing new", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(at(MESH, 5));
  catalogue.put(at(MESH, 3));
  t.equal(catalogue.get("Mesh//default")?.version, "5");
  catalogue.remove(at(MESH, 3), 4);
  t.ok(
    catalogue.get("Mesh//default"),
    "it was written again after that removal",
  );
  catalogue.remove(at(MESH, 5), 6);
  t.equal(catalogue.get("Mesh//default"), undefined);
  t.end();
});

void t.test(
  "sidecars of one scope share one set until something changes",
  (t) => {
    const catalogue = new Catalogue();
    catalogue.put(at(MESH, 1));
    catalogue.put(at(service("orders"), 2));
    const view = catalogue.open(SELF);
    const other = catalogue.open({ ...SELF, name: "web-2" });
    const first = view.set;
    t.equal(other.set, first);
    catalogue.put(at(route("r", "orders"), 3));
    const second = view.set;
    t.not(second, first);
    t.not(second.digest, first.digest);
    t.equal(other.set, second);
    t.equal(first.entries.size, 2, "what was given out is never edited");
    t.end();
  },
);

void t.test("a workload sees itself, though no Service selects it", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(
    at(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Workload",
        metadata: { name: "web-1", namespace: "shop" },
        spec: { address: "10.0.0.1" },
      },
      1,
    ),
  );
  t.same(namesIn(catalogue.open(SELF).set), ["Workload/shop/web-1"]);
  t.same(namesIn(catalogue.open({ ...SELF, name: "web-2" }).set), []);
  t.end();
});

void t.test(
  "the difference is what is newer, what is missing and what is too much",
  (t) => {
    const catalogue = new Catalogue();
    catalogue.put(at(service("same"), 1));
    catalogue.put(at(service("newer"), 2));
    catalogue.put(at(service("missing"), 3));
    const held = new Map([
      ["Service/shop/same", { version: "1" }],
      ["Service/shop/newer", { version: "1" }],
      ["Service/shop/gone", { version: "1" }],
    ]);
    const { changed, removed } = difference(held, catalogue.open(SELF).set);
    t.same(changed.map(({ name }) => name).sort(), [
      "Service/shop/missing",
      "Service/shop/newer",
    ]);
    t.same(removed, ["Service/shop/gone"]);
    t.equal(catalogue.encoded, 0, "nothing is encoded before it is sent");
    for (const entry of changed) t.equal(entry.encoded(), entry.encoded());
    t.equal(catalogue.encoded, 2);
    t.end();
  },
);

void t.test("who hears of a change, and who does not", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(at(MESH, 1));
  const shop = catalogue.open(SELF);
  const far = catalogue.open({ ...SELF, namespace: "far" });
  catalogue.takeMoved();
  catalogue.put(at(service("kept", { exportTo: ["."] }, "far"), 2));
  t.same(catalogue.takeMoved(), [far]);
  t.same(catalogue.takeMoved(), [], "each time once");
  catalogue.put(at(service("for-all", {}, "far"), 3));
  t.same(new Set(catalogue.takeMoved()), new Set([shop, far]));
  catalogue.put(at(route("r", "kept", "far"), 4));
  t.same(catalogue.takeMoved(), [far]);
  catalogue.put(at(service("kept", { exportTo: ["shop"] }, "far"), 5));
  t.same(new Set(catalogue.takeMoved()), new Set([shop, far]));
  t.ok(
    namesIn(shop.set).includes("HTTPRoute/far/r"),
    "it came with its Service",
  );
  catalogue.put(at(service("nobody", { exportTo: ["infra"] }, "infra"), 6));
  t.same(catalogue.takeMoved(), []);
  catalogue.close(far);
  catalogue.remove(at(MESH, 1), 7);
  t.same(catalogue.takeMoved(), [shop], "who has left hears nothing");
  t.end();
});

/** Names in it, sorted. */
function namesIn(set: ScopedSet): string[] {
  return set.entries
    .values()
    .map(({ name }) => name)
    .sort();
}

/** "NAME VERSION" of each, sorted. */
function lines(entries: readonly Entry[]): string[] {
  return entries.map(({ name, version }) => `${name} ${version}`).sort();
}

/** What a look at all that there is says that the workload should hold. */
function wanted(
  viewer: ReturnType<typeof randomViewer>,
  resources: readonly Resource[],
): Map<string, string> {
  const own = resources.filter(
    ({ kind, metadata: { name, namespace } }) =>
      kind === "Workload" &&
      name === viewer.name &&
      namespace === viewer.namespace,
  );
  return new Map(
    [...scope(viewer, resources), ...own].map((resource) => [
      resourceName(keyOf(resource)),
      resource.metadata.resourceVersion ?? "",
    ]),
  );
}

function change(
  draw: Draw,
  revision: number,
  catalogue: Catalogue,
  stored: Map<string, Resource>,
): void {
  const drawn = at(randomResource(draw), revision);
  const name = resourceName(keyOf(drawn));
  const there = stored.get(name);
  if (draw() < 0.7) {
    stored.set(name, drawn);
    catalogue.put(drawn);
  } else if (there !== undefined) {
    stored.delete(name);
    catalogue.remove(there, revision);
  }
}

void t.test(
  "after any changes, sets, digests and differences are those that a look at everything gives",
  (t) => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const draw = seeded(seed);
      const catalogue = new Catalogue();
      const stored = new Map<string, Resource>();
      const open = (): ReturnType<Catalogue["open"]> =>
        catalogue.open(randomViewer(draw));
      const views = Array.from({ length: 6 }, open);
      const before = views.map((view) => view.set);
      const last = [...before];
      for (let revision = 1; revision <= 150; revision += 1) {
        change(draw, revision, catalogue, stored);
        // Several changes may come together, and sidecars come and go among them.
        if (draw() < 0.5) continue;
        if (draw() < 0.1) {
          const place = Math.floor(draw() * views.length);
          const [gone] = views.splice(place, 1, open());
          if (gone !== undefined) catalogue.close(gone);
          last[place] = before[place] = views[place]?.set as ScopedSet;
        }
        const moved = new Set(catalogue.takeMoved());
        const all = [...stored.values()];
        for (const [place, view] of views.entries()) {
          const should = wanted(view.viewer, all);
          const at = `seed ${seed}, revision ${revision}`;
          const has = view.set.entries.values();
          const text = Array.from(
            should,
            ([name, version]) => `${name} ${version}`,
          );
          if (lines(has).join() !== text.sort().join())
            t.same(lines(has), text, at);
          if (view.set.digest !== digestOf(should))
            t.fail(`${at}: the digest is of something else`);
          const held = before[place] as ScopedSet;
          if (!moved.has(view) && last[place] !== view.set)
            t.fail(`${at}: a change of a set is not told`);
          last[place] = view.set;
          const { changed, removed } = difference(held, view.set);
          const had = new Map(
            held.entries.values().map(({ name, version }) => [name, version]),
          );
          const newer = text.filter((line) => {
            const [name = "", version] = line.split(" ");
            return had.get(name) !== version;
          });
          if (lines(changed).join() !== newer.join())
            t.same(lines(changed), newer, at);
          const gone = [...had.keys()].filter((name) => !should.has(name));
          if ([...removed].sort().join() !== gone.sort().join())
            t.same([...removed].sort(), gone, at);
          // Some sidecars lag behind.
          if (draw() < 0.7) before[place] = view.set;
        }
      }
    }
    t.pass("all are the same");
    t.end();
  },
);

void t.test("everything again: what is not there any more goes", (t) => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const draw = seeded(seed);
    const catalogue = new Catalogue();
    const stored = new Map<string, Resource>();
    const view = catalogue.open(randomViewer(draw));
    for (let revision = 1; revision <= 60; revision += 1)
      change(draw, revision, catalogue, stored);
    for (let revision = 61; revision <= 100; revision += 1)
      change(draw, revision, new Catalogue(), stored);
    const all = [...stored.values()];
    catalogue.replace(all);
    t.equal(view.set.digest, digestOf(wanted(view.viewer, all)));
  }
  t.end();
});
