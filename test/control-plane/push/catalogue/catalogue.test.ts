/** The sets of sidecars follow the changes of the mesh, and a change costs what it concerns (law 16). */
import { getHeapSpaceStatistics } from "node:v8";
import t from "tap";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import type { Entry } from "../../../../src/control-plane/push/catalogue/item.ts";
import {
  difference,
  type ScopedSet,
} from "../../../../src/control-plane/push/catalogue/scoped-set.ts";
import type { View } from "../../../../src/control-plane/push/catalogue/scopes.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import { collectGarbage } from "../../../../src/runtime/v8.ts";
import {
  MESH,
  route,
  service,
} from "../../../support/control-plane/push-control-plane.ts";
import {
  at,
  randomResource,
  randomViewer,
} from "../../../support/resources/random-mesh.ts";
import { seeded, type Draw } from "../../../support/resources/random-policy.ts";
import { scope } from "../../../support/resources/scope-oracle.ts";
import { digestOf } from "../../../support/control-plane/digest.ts";

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
    for (const entry of changed)
      t.equal(entry.encoded("plain"), entry.encoded("plain"));
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

/** A sidecar, the set that it holds, and the one that was told last. */
interface Sidecar {
  readonly view: View;
  held: ScopedSet;
  last: ScopedSet;
}

/** Each thing that is not as a look at everything says, in words. */
function faultsOf(
  { view, held, last }: Sidecar,
  resources: readonly Resource[],
  moved: ReadonlySet<View>,
): string[] {
  const should = wanted(view.viewer, resources);
  const text = Array.from(should, ([name, version]) => `${name} ${version}`);
  const { changed, removed } = difference(held, view.set);
  const had = new Set(lines(held.entries.values()));
  const gone = namesIn(held).filter((name) => !should.has(name));
  const isSame = (left: readonly string[], right: readonly string[]): boolean =>
    [...left].sort().join() === [...right].sort().join();
  return [
    isSame(lines(view.set.entries.values()), text)
      ? ""
      : `it is ${lines(view.set.entries.values()).join()}, and not ${text.join()}`,
    view.set.digest === digestOf(should)
      ? ""
      : "the digest is of something else",
    moved.has(view) || last === view.set ? "" : "a change of a set is not told",
    isSame(
      lines(changed),
      text.filter((line) => !had.has(line)),
    )
      ? ""
      : `${lines(changed).join()} is sent`,
    isSame(removed, gone) ? "" : `${removed.join()} is taken away`,
  ].filter((fault) => fault !== "");
}

void t.test(
  "after any changes, sets, digests and differences are those that a look at everything gives",
  (t) => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const draw = seeded(seed);
      const catalogue = new Catalogue();
      const stored = new Map<string, Resource>();
      const open = (): Sidecar => {
        const view = catalogue.open(randomViewer(draw));
        return { view, held: view.set, last: view.set };
      };
      const sidecars = Array.from({ length: 6 }, open);
      for (let revision = 1; revision <= 150; revision += 1) {
        change(draw, revision, catalogue, stored);
        // Several changes may come together, and sidecars come and go among them.
        if (draw() < 0.5) continue;
        if (draw() < 0.1) {
          const [gone] = sidecars.splice(Math.floor(draw() * 6), 1, open());
          if (gone !== undefined) catalogue.close(gone.view);
        }
        const moved = new Set(catalogue.takeMoved());
        for (const sidecar of sidecars) {
          const faults = faultsOf(sidecar, [...stored.values()], moved);
          if (faults.length > 0) {
            t.same(faults, [], `seed ${seed}, revision ${revision}`);
            t.end();
            return;
          }
          sidecar.last = sidecar.view.set;
          // Some lag behind.
          if (draw() < 0.7) sidecar.held = sidecar.view.set;
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

void t.test("to be asked leaves nothing in the old generation", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(at(MESH, 1));
  const view = catalogue.open(SELF);
  const key = { kind: "Mesh", namespace: "", name: "default" };
  collectGarbage({ type: "major" });
  const before = oldGeneration();
  let size = 0;
  for (let question = 0; question < 100_000; question += 1) {
    catalogue.inForce(key, "1");
    size += view.set.entries.size;
  }
  t.equal(size, 100_000);
  // Were it a hundred bytes a question, 10 MB.
  t.ok(oldGeneration() - before < 2e6);
  t.end();
});

function oldGeneration(): number {
  return (
    getHeapSpaceStatistics().find(
      ({ space_name: name }) => name === "old_space",
    )?.space_used_size ?? Number.NaN
  );
}
