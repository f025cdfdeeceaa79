/**
 * What a sidecar gets for what it asks is kept in step, decides as the whole scope would, and holds nothing that is not in that scope.
 * Each run draws other meshes: WHERRY_FUZZ_SEED has those of one again.
 */
import { randomInt } from "node:crypto";
import t from "tap";
import { CONNECTION } from "../../../support/resources/policy-fixtures.ts";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import type { ScopedSet } from "../../../../src/control-plane/push/catalogue/scoped-set.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import type { Destination, Snapshot } from "../../../../src/policy/snapshot.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import { digestOf } from "../../../support/control-plane/digest.ts";
import { drawn } from "../../../support/drawn.ts";
import {
  at,
  randomResource,
  randomViewer,
  type RandomViewer,
} from "../../../support/resources/random-mesh.ts";
import { seeded, type Draw } from "../../../support/resources/random-policy.ts";

const SEED = Number(process.env["WHERRY_FUZZ_SEED"] ?? randomInt(2 ** 31));
const MESHES = drawn("WHERRY_CLOSURE_MESHES", 6, 15);

const NAMES = [
  "Service/shop/a",
  "Service/shop/b",
  "Service/far/a",
  "Service/infra/c",
  "Host//a.shop",
  "Host//a",
  "Host//b.far.svc.cluster.local",
  "Host//one.example",
  "Host//x.one.example",
  "Host//y.x.one.example",
  "Host//nowhere.example",
  "Address//10.0.0.1:8080",
  "Address//10.0.0.2:81",
] as const;

function drawNames(draw: Draw): string[] {
  const names = NAMES.filter(() => draw() < 0.25) as string[];
  names.push("self");
  return names;
}

function lines(set: ScopedSet): string[] {
  return set.entries
    .values()
    .map(({ name, version }) => `${name} ${version}`)
    .sort();
}

function compiled(set: ScopedSet, viewer: RandomViewer): Snapshot {
  return compileSnapshot(
    set.entries.values().flatMap(({ resource }) => resource ?? []),
    {
      ...viewer,
      serviceAccount: "one",
      identity: `spiffe://cluster.local/ns/${viewer.namespace}/sa/one`,
    },
    { store: "test", revision: 1, digest: "" },
    { validated: true },
  );
}

const REQUEST = {
  method: "GET",
  path: "/x",
  query: "",
  header: () => undefined,
  lines: () => undefined,
};

/** Every name and place by which a call may come. */
const CALLS: readonly string[] = [
  ...["shop", "far", "infra", "wherry-system"].flatMap((namespace) =>
    ["a", "b", "c"].flatMap((name) => [
      `Host//${name}`,
      `Host//${name}.${namespace}`,
      `Host//${name}.${namespace}.svc.cluster.local`,
    ]),
  ),
  "Host//one.example",
  "Host//two.example",
  "Host//x.one.example",
  "Host//y.one.example",
  "Host//y.x.one.example",
  ...["10.0.0.1", "10.0.0.2", "10.0.0.3"].flatMap((address) =>
    [80, 81, 8080, 15_008].map((port) => `Address//${address}:${port}`),
  ),
];

/** Hosts that captured requests say. */
const SAID = [
  ...[undefined, "a", "b.shop", "a.far", "one.example", "two.example"],
  ...["x.one.example", "y.x.one.example"],
];

/** Where calls to what the subscription names lead. */
function destinations(
  snapshot: Snapshot,
  name: string,
): readonly (Destination | undefined)[] {
  const [kind, namespace, last = ""] = name.split("/");
  const [address = "", place = ""] = last.split(":");
  if (kind === "Address")
    return [
      snapshot.destinationByAddress(address, Number(place)),
      // A captured request says a host besides.
      ...SAID.map((host) =>
        snapshot.destinationOfCaptured(
          address,
          Number(place),
          host === undefined ? undefined : { host, port: undefined },
        ),
      ),
    ];
  return kind === "Host"
    ? [80, 81, 8080, undefined].map((port) => snapshot.destination(last, port))
    : snapshot.destinations.filter(
        ({ service }) =>
          service.name === last && service.namespace === namespace,
      );
}

/** What becomes of a call that leads there. */
function decision(destination: Destination | undefined): string {
  return JSON.stringify([
    destination?.key,
    destination?.route(REQUEST, 0.5),
    destination?.faults?.map(({ policy }) => policy),
    destination?.cluster,
  ]);
}

/** Calls that the sidecar decides without a question, and decides otherwise than with the whole mesh. */
function misled(asker: Asker, some: Snapshot, all: Snapshot): string[] {
  return CALLS.flatMap((name) => {
    const right = destinations(all, name);
    return destinations(some, name).flatMap((destination, index) => {
      if (destination === undefined) return [];
      const { namespace, name: service } = destination.service;
      // Of a Service that it serves itself, and does not call, it knows that it has to ask.
      if (!asker.view.scope.leadsTo(`${namespace}/${service}`)) return [];
      const [is, shouldBe] = [decision(destination), decision(right[index])];
      return is === shouldBe ? [] : [`${name}: ${is}\nand not ${shouldBe}`];
    });
  });
}

function inbound(snapshot: Snapshot): string {
  return JSON.stringify(
    snapshot.inbound.ports.map((port) => [
      port.key,
      port.mtls,
      port.protection,
      port.authorize({
        peer: "spiffe://cluster.local/ns/shop/sa/web",
        port: port.targetPort,
        connection: CONNECTION,
        request: { host: "a.shop", ...REQUEST },
      }),
    ]),
  );
}

interface Asker {
  readonly viewer: RandomViewer;
  names: string[];
  readonly view: ReturnType<Catalogue["open"]>;
}

function faultOf(
  asker: Asker,
  catalogue: Catalogue,
  stored: readonly Resource[],
): string {
  const { viewer, view, names } = asker;
  const again = new Catalogue();
  for (const resource of stored) again.put(resource);
  const fresh = again.open(viewer, names).set;
  const text = lines(view.set).join("\n");
  if (text !== lines(fresh).join("\n"))
    return `it is\n${text}\nand not\n${lines(fresh).join("\n")}`;
  const versions = view.set.entries
    .values()
    .map(({ name, version }) => [name, version] as const);
  if (view.set.digest !== digestOf(versions)) return "the digest is wrong";
  const whole = catalogue.open(viewer);
  const visible = new Set(lines(whole.set));
  const hidden = lines(view.set).filter(
    (line) => !visible.has(line) && !/^(Host|Address)\//.test(line),
  );
  catalogue.close(whole);
  if (hidden.length > 0) return `it must not see ${hidden.join()}`;
  const all = compiled(whole.set, viewer);
  const some = compiled(view.set, viewer);
  for (const name of names) {
    const [is, shouldBe] = [some, all].map((snapshot) =>
      destinations(snapshot, name).map(decision).join("\n"),
    );
    if (is !== shouldBe) return `${name}: ${is}\nand not ${shouldBe}`;
  }
  if (some.revoked.size !== all.revoked.size)
    return `${some.revoked.size} and not ${all.revoked.size} are revoked`;
  const [misdirected] = misled(asker, some, all);
  if (misdirected !== undefined) return misdirected;
  return names.includes("self") && inbound(some) !== inbound(all)
    ? `inbound ${inbound(some)}\nand not ${inbound(all)}`
    : "";
}

void t.test("random meshes and interests, after any changes", (t) => {
  for (let seed = SEED; seed < SEED + MESHES; seed += 1) {
    const draw = seeded(seed);
    const catalogue = new Catalogue();
    const stored = new Map<string, Resource>();
    const first = { viewer: randomViewer(draw), names: drawNames(draw) };
    const askers = Array.from({ length: 4 }, (_, index): Asker => {
      // The last two are replicas: they see the same, and ask for the same at first.
      const { viewer, names } =
        index < 2
          ? { viewer: randomViewer(draw), names: drawNames(draw) }
          : first;
      return { viewer, names, view: catalogue.open(viewer, names) };
    });
    for (let revision = 1; revision <= 120; revision += 1) {
      const next = at(randomResource(draw), revision);
      const name = resourceName(keyOf(next));
      const there = stored.get(name);
      if (draw() < 0.75 || there === undefined) {
        catalogue.put(next);
        stored.set(name, next);
      } else {
        catalogue.remove(there, revision);
        stored.delete(name);
      }
      const asker = askers[Math.floor(draw() * askers.length)];
      if (draw() < 0.15 && asker !== undefined) {
        const names =
          draw() < 0.5
            ? drawNames(draw)
            : [...asker.names.slice(0, 3), ...drawNames(draw)];
        catalogue.ask(asker.view, {
          add: names,
          remove: asker.names.filter((each) => !names.includes(each)),
        });
        asker.names = names;
      }
      if (draw() < 0.6) continue;
      for (const each of askers) {
        const fault = faultOf(each, catalogue, [...stored.values()]);
        if (fault === "") continue;
        t.equal(
          fault,
          "",
          `WHERRY_FUZZ_SEED=${seed}, revision ${revision}, ${each.names.join()}`,
        );
        t.end();
        return;
      }
    }
  }
  t.pass("all are the same");
  t.end();
});
