/** What a look at a resource's rivals alone says is what a look at all resources says. */
import t from "tap";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import { atOnce } from "../../../../src/core/slices.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { conflicts } from "../../../../src/resources/cross-checks/conflicts.ts";
import {
  reachChecker,
  reachOf,
} from "../../../../src/resources/cross-checks/reach.ts";
import { unreachableMatches } from "../../../../src/resources/cross-checks/unreachable.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import { at, randomResource } from "../../../support/resources/random-mesh.ts";
import { seeded } from "../../../support/resources/random-policy.ts";

/** All verdicts on the resource, as text. */
function byIndex(resource: Resource, { mesh }: Catalogue): string[] {
  return [
    ...mesh
      .conflictsAround(resource)
      .map(({ loser, message }) => `${loser === resource} ${message}`),
    ...mesh.unreachableIn(resource).map(({ message }) => message),
    ...mesh
      .unreachableAround(resource)
      .map(({ message }) => `around ${message}`),
    ...reachChecker(mesh.reach())(resource).map(({ message }) => message),
  ].sort();
}

function byLook(
  all: readonly Resource[],
): (resource: Resource) => readonly string[] {
  const unreachable = unreachableMatches(all);
  const conflicting = conflicts(all);
  const check = reachChecker(atOnce(reachOf(all, ["cluster.local"], true)));
  return (resource) =>
    [
      ...conflicting
        .filter(
          ({ loser, winner }) => loser === resource || winner === resource,
        )
        .map(({ loser, message }) => `${loser === resource} ${message}`),
      ...unreachable
        .filter(({ route }) => route === resource)
        .map(({ message }) => message),
      ...unreachable
        .filter(
          ({ route, taker }) => route === resource || taker.route === resource,
        )
        .map(({ message }) => `around ${message}`),
      ...check(resource).map(({ message }) => message),
    ].sort();
}

void t.test("random meshes", (t) => {
  let verdicts = 0;
  for (let seed = 1; seed <= 15; seed += 1) {
    const draw = seeded(seed);
    const catalogue = new Catalogue();
    const stored = new Map<string, Resource>();
    for (let revision = 1; revision <= 150; revision += 1) {
      const drawn = at(randomResource(draw), revision);
      const name = resourceName(keyOf(drawn));
      const there = stored.get(name);
      if (draw() < 0.8 || there === undefined) {
        catalogue.put(drawn);
        stored.set(name, drawn);
      } else {
        catalogue.remove(there, revision);
        stored.delete(name);
      }
      if (revision % 10 > 0) continue;
      const all = [
        ...new Set([...stored.values()].map(({ kind }) => kind)),
      ].flatMap((kind) => catalogue.mesh.list(kind));
      const look = byLook(all);
      for (const resource of all) {
        const found = byIndex(resource, catalogue);
        const wanted = look(resource);
        verdicts += wanted.length;
        if (found.join("\n") === wanted.join("\n")) continue;
        t.same(found, wanted, `seed ${seed}: ${resourceName(keyOf(resource))}`);
        t.end();
        return;
      }
    }
  }
  t.ok(verdicts > 3000, `${verdicts} verdicts`);
  t.end();
});

void t.test("lists have the order of namespaces, then names", (t) => {
  const catalogue = new Catalogue();
  const workload = (namespace: string, name: string): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace },
    spec: { address: "10.0.0.1" },
  });
  const list = (namespace?: string): string[] =>
    catalogue.mesh
      .list("Workload", namespace)
      .map(({ metadata }) => `${metadata.namespace ?? ""} ${metadata.name}`);
  t.same(list(), []);
  for (const [index, [namespace, name]] of [
    ["b", "x"],
    ["a-b", "x"],
    ["a", "y"],
    ["a", "x"],
  ].entries())
    catalogue.put(at(workload(namespace ?? "", name ?? ""), index + 1));
  t.same(list(), ["a x", "a y", "a-b x", "b x"]);
  t.same(list("a"), ["a x", "a y"]);
  catalogue.remove(at(workload("a", "y"), 3), 5);
  catalogue.put(at(workload("a", "w"), 6));
  catalogue.put(at(workload("c", "z"), 7));
  t.same(list(), ["a w", "a x", "a-b x", "b x", "c z"]);
  catalogue.put(at(workload("a", "y"), 8));
  t.same(list("a"), ["a w", "a x", "a y"], "it came back");
  t.end();
});
