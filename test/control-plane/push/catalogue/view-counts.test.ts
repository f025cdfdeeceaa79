/** Counts of what is in force are those that a look at every sidecar gives. */
import t from "tap";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import { ScopedSet } from "../../../../src/control-plane/push/catalogue/scoped-set.ts";
import type { View } from "../../../../src/control-plane/push/catalogue/scopes.ts";
import type { InForce } from "../../../../src/control-plane/push/status.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import {
  MESH,
  service,
} from "../../../support/control-plane/push-control-plane.ts";
import {
  at,
  randomResource,
  randomViewer,
} from "../../../support/resources/random-mesh.ts";
import { seeded } from "../../../support/resources/random-policy.ts";

interface Sidecar {
  readonly view: View;
  inForce: ScopedSet;
  refused: ScopedSet;
  counted: boolean;
}

function versionIn(set: ScopedSet, name: string): number {
  const found = set.entries.values().find((entry) => entry.name === name);
  return found === undefined ? Number.NaN : Number(found.version);
}

function countOf(
  sidecars: readonly Sidecar[],
  name: string,
  version: number,
): InForce {
  const wanting = sidecars.filter(
    ({ view, counted }) => counted && !Number.isNaN(versionIn(view.set, name)),
  );
  const has = ({ inForce }: Sidecar): boolean =>
    versionIn(inForce, name) >= version;
  return {
    of: wanting.length,
    have: wanting.filter(has).length,
    refused: wanting.filter(
      (each) => !has(each) && versionIn(each.refused, name) >= version,
    ).length,
  };
}

void t.test("after any changes and answers", (t) => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const draw = seeded(seed);
    const catalogue = new Catalogue();
    const stored = new Map<string, Resource>();
    const open = (): Sidecar => ({
      view: catalogue.open(randomViewer(draw)),
      inForce: ScopedSet.EMPTY,
      refused: ScopedSet.EMPTY,
      counted: true,
    });
    const sidecars = Array.from({ length: 6 }, open);
    for (let revision = 1; revision <= 120; revision += 1) {
      const drawn = at(randomResource(draw), revision);
      const name = resourceName(keyOf(drawn));
      const there = stored.get(name);
      if (draw() < 0.75 || there === undefined) {
        catalogue.put(drawn);
        stored.set(name, drawn);
      } else {
        catalogue.remove(there, revision);
        stored.delete(name);
      }
      const place = Math.floor(draw() * sidecars.length);
      const sidecar = sidecars[place] ?? open();
      const what = draw();
      if (what < 0.35) {
        sidecar.inForce = sidecar.view.set;
        sidecar.refused = ScopedSet.EMPTY;
        sidecar.view.counts.takes(sidecar.inForce);
        sidecar.view.counts.refuses(sidecar.refused);
      } else if (what < 0.6) {
        sidecar.refused = sidecar.view.set;
        sidecar.view.counts.refuses(sidecar.refused);
      } else if (what < 0.7) {
        sidecar.counted = !sidecar.counted;
        sidecar.view.counts.setCounted(sidecar.counted);
      } else if (what < 0.75) {
        catalogue.close(sidecar.view);
        sidecars[place] = open();
      }
      for (const resource of stored.values()) {
        const key = keyOf(resource);
        const version = resource.metadata.resourceVersion ?? "";
        const found = catalogue.inForce(key, version);
        const wanted = countOf(sidecars, resourceName(key), Number(version));
        if (
          found.of !== wanted.of ||
          found.have !== wanted.have ||
          found.refused !== wanted.refused
        ) {
          t.same(found, wanted, `seed ${seed}, revision ${revision}`);
          t.end();
          return;
        }
      }
    }
  }
  t.pass("all are the same");
  t.end();
});

void t.test("what the store has and no sidecar has heard of yet", (t) => {
  const catalogue = new Catalogue();
  catalogue.put(at(MESH, 1));
  const { counts, set } = catalogue.open({
    namespace: "shop",
    labels: {},
    name: "web-1",
  });
  counts.takes(set);
  t.same(catalogue.inForce(keyOf(MESH), "1"), { have: 1, of: 1, refused: 0 });
  t.same(catalogue.inForce(keyOf(MESH), "2"), { have: 0, of: 1, refused: 0 });
  t.same(catalogue.inForce(keyOf(service("orders")), "3"), {
    have: 0,
    of: 0,
    refused: 0,
  });
  t.end();
});
