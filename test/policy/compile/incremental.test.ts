/**
 * A snapshot that was made out of the one before decides as one that was made of the same resources alone, after any changes.
 * `WHERRY_SEQUENCES` sets how many sequences of changes are tried, `WHERRY_FUZZ_SEED` which: without it each run tries others.
 */
import { randomInt } from "node:crypto";
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import {
  compileDifference,
  compileSnapshot,
  CompileError,
  type CompileOptions,
} from "../../../src/policy/compile/compile.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import { explainCaller } from "../../../src/policy/explain/caller.ts";
import { lookupIn } from "../../../src/policy/explain/decision.ts";
import type {
  Destination,
  SelfDescription,
  Snapshot,
} from "../../../src/policy/snapshot.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { drawn } from "../../support/drawn.ts";
import {
  request,
  service,
  VERSION,
  CONNECTION,
} from "../../support/resources/policy-fixtures.ts";
import {
  HOSTS,
  randomVersions,
  SELVES,
} from "../../support/resources/random-versions.ts";
import {
  BACKENDS,
  dice,
  randomRequest,
  seeded,
  type Draw,
} from "../../support/resources/random-policy.ts";

const SEQUENCES = drawn("WHERRY_SEQUENCES", 5000, 10_000);
const SEED = Number(process.env["WHERRY_FUZZ_SEED"] ?? randomInt(2 ** 31));
/** Changes of one sequence at most. */
const CHANGES = 12;
/** The share of sequences that may have as many; of the others each has a third at most. */
const LONG = drawn("WHERRY_LONG_SEQUENCES", 0.2, 1);
const NOW = Date.parse("2026-03-01T12:00:00Z");

const KEPT = { validated: true, owned: true } as const;

/** The same for every sequence, so that one can be run by itself. */
const VERSIONS = [...randomVersions(seeded(1), 40).values()];

interface World {
  readonly resources: ReadonlyMap<string, Resource>;
  readonly self: SelfDescription;
  readonly snapshot: Snapshot | undefined;
}

/** A few resources come, change and go. */
function changed(
  { pick, chance, upTo }: ReturnType<typeof dice>,
  before: ReadonlyMap<string, Resource>,
): ReadonlyMap<string, Resource> {
  const resources = new Map(before);
  for (let count = chance(0.2) ? 12 : 1 + upTo(2); count > 0; count -= 1)
    if (chance(0.3) && resources.size > 0)
      resources.delete(pick([...resources.keys()]));
    else {
      const next = pick(pick(VERSIONS));
      const key = formatKey(keyOf(next));
      // As a sidecar keeps them, what changed is the last; from files it stays where it was.
      if (chance(0.5)) resources.delete(key);
      resources.set(key, next);
    }
  return resources;
}

/** By the list of all, or by what changed: it comes to the same. */
function compile(
  { snapshot, resources }: World,
  next: ReadonlyMap<string, Resource>,
  self: SelfDescription,
  byDifference: boolean,
): Snapshot {
  const options: CompileOptions = { ...KEPT, previous: snapshot };
  if (!byDifference)
    return compileSnapshot([...next.values()], self, VERSION, options);
  const difference = {
    changed: [...next].flatMap(([key, resource]) =>
      resources.get(key) === resource ? [] : [resource],
    ),
    removed: [...resources.keys()].filter((key) => !next.has(key)),
  };
  return atOnce(compileDifference(difference, self, VERSION, options)).snapshot;
}

/** Sets that are refused: two of one key, a kind without a policy, an expression that is none. */
function refusable(
  { pick }: ReturnType<typeof dice>,
  all: readonly Resource[],
): readonly Resource[] {
  const broken: Resource = {
    ...service("shop/route-0"),
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    spec: {
      parentRefs: BACKENDS.map((name) => ({ kind: "Service", name })),
      rules: [
        { matches: [{ path: { type: "RegularExpression", value: "/(" } }] },
      ],
    },
  };
  const others = all.filter(({ metadata }) => metadata.name !== "route-0");
  return pick([
    [...all, ...all.slice(0, 1)],
    [...all, ...all.slice(0, 1).map((one) => ({ ...one, spec: {} }))],
    [...all.slice(2), { ...service("shop/odd"), kind: "Odd" }],
    [...others.slice(2), broken, service("shop/new")],
  ]);
}

function isRefused(
  resources: readonly Resource[],
  self: SelfDescription,
  previous: Snapshot | undefined,
): boolean {
  try {
    compileSnapshot(resources, self, VERSION, { ...KEPT, previous });
    return false;
  } catch (error) {
    if (error instanceof CompileError) return true;
    throw error;
  }
}

const PORTS = [undefined, 80, 81, 443];
const NAMES = [
  ...BACKENDS,
  ...BACKENDS.flatMap((name) => [`${name}.shop`, `${name}.far.svc`]),
  "orders.shop.svc.cluster.local",
  ...HOSTS,
];
const PLACES = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.2", "10.9.9.9"];
const PEER = "spiffe://cluster.local/ns/shop/sa/web";

/** All that a snapshot decides, for the same requests where `draw` draws the same. */
function said(
  snapshot: Snapshot,
  resources: ReadonlyMap<string, Resource>,
  draw: Draw,
): string {
  const { clusters, destinations, inbound, warnings, self, mesh } = snapshot;
  const place = (found: Destination | undefined): string | undefined =>
    found && `${found.key} ${destinations.indexOf(found)}`;
  return JSON.stringify(
    {
      ...{ self, mesh, warnings },
      clusters: clusters.map((each) => [
        each,
        snapshot.cluster(each.key) === each,
      ]),
      destinations: destinations.map((each) => [
        place(each),
        each.port,
        each.faults?.map(({ policy }) => policy),
        snapshot.cluster(each.cluster.key) === each.cluster,
        ...[draw(), draw()].map((random) =>
          decided(snapshot, each, draw, random),
        ),
      ]),
      faulty: snapshot.faulty.map(place),
      hosts: NAMES.map((host) =>
        PORTS.map((port) => place(snapshot.destination(host, port))),
      ),
      addresses: PLACES.map((address) =>
        [80, 81, 443, 8080, 8081].map((port) =>
          place(snapshot.destinationByAddress(address, port)),
        ),
      ),
      captured: PLACES.map((address) =>
        [undefined, ...NAMES].map((host) => {
          const named = host === undefined ? host : { host, port: undefined };
          const found = snapshot.destinationOfCaptured(address, 8080, named);
          return [
            place(found),
            found && snapshot.cluster(found.cluster.key) === found.cluster,
          ];
        }),
      ),
      inbound: inbound.ports.map((port) => [
        port,
        inbound.resolve(port.key) === port,
        inbound.byPort(port.targetPort)?.key,
        port.passedOver(),
        ...FACTS.map((facts) => [port.authorize(facts), port.explain(facts)]),
      ]),
      asked: asked(snapshot, resources, draw),
    },
    plain,
  );
}

const FACTS: readonly AuthorizationFacts[] = [
  { peer: PEER, port: 8080, connection: CONNECTION, request: request("/a") },
  {
    peer: undefined,
    port: 8080,
    connection: CONNECTION,
    request: request("/admin/x"),
  },
];

/** Where a random request goes, and that the cluster is the one of this snapshot. */
function decided(
  snapshot: Snapshot,
  destination: Destination,
  draw: Draw,
  random: number,
): unknown {
  const { method, path, headers } = randomRequest(draw);
  const facts = request(path, { method, headers });
  const decision = destination.route(facts, random);
  const trace = destination.explain(facts);
  const clusters =
    decision.kind === "forward"
      ? [
          decision.cluster,
          ...(decision.extras?.mirrors ?? []).map(({ cluster }) => cluster),
        ]
      : [];
  return [
    trace.considered,
    trace.passedOver,
    trace.shares.map(({ share, decision: each }) => [share, each.kind]),
    { ...decision, cluster: undefined, extras: undefined },
    clusters.map((each) => [each.key, snapshot.cluster(each.key) === each]),
  ];
}

/** What the evaluator says of a random request. */
function asked(
  snapshot: Snapshot,
  resources: ReadonlyMap<string, Resource>,
  draw: Draw,
): unknown {
  const { method, path, host, headers } = randomRequest(draw);
  const destination = snapshot.destination(host, undefined);
  if (destination === undefined) return undefined;
  const { decisions, outcome } = explainCaller({
    snapshot,
    find: lookupIn([...resources.values()]),
    where: { kind: "mesh", destination },
    head: {
      ...{ method, path, scheme: "http", authority: host },
      fields: Object.entries(headers).map(([name, value]) => ({ name, value })),
    },
    tunnel: false,
    draw: undefined,
    wall: NOW,
  });
  return [decisions, outcome];
}

function plain(_key: string, value: unknown): unknown {
  return value instanceof Set || value instanceof Map ? [...value] : value;
}

/** Runs one sequence of changes; the reason where a snapshot does not say what it should, at once or later. */
function run(
  number: number,
  count: { steps: number; refusals: number },
): string | undefined {
  const draw = seeded(SEED + number);
  const throws = dice(draw);
  const { pick, chance, upTo } = throws;
  const most = chance(LONG) ? CHANGES : CHANGES / 3;
  let world: World = {
    resources: new Map(),
    self: pick(SELVES.slice(0, 3)),
    snapshot: undefined,
  };
  let old: (() => boolean) | undefined;
  for (let left = 1 + upTo(most - 1); left > 0; left -= 1) {
    const resources = changed(throws, world.resources);
    const self = chance(0.1) ? pick(SELVES) : world.self;
    if (chance(0.1)) {
      const bad = refusable(throws, [...resources.values()]);
      const is = isRefused(bad, self, world.snapshot);
      if (is !== isRefused(bad, self, undefined)) return "one is refused";
      count.refusals += Number(is);
    }
    const snapshot = compile(world, resources, self, chance(0.3));
    world = { resources, self, snapshot };
    count.steps += 1;
    if (left > 1 && !chance(0.3)) continue;
    const alone = compileSnapshot([...resources.values()], self, VERSION, KEPT);
    const now = said(snapshot, resources, seeded(number));
    if (now !== said(alone, resources, seeded(number))) return "the two differ";
    // One is kept, while others are made out of it.
    old ??= () => said(snapshot, resources, seeded(number)) === now;
  }
  return old?.() === false ? "a snapshot has changed" : undefined;
}

void t.test(`${SEQUENCES} sequences of changes`, (t) => {
  const count = { steps: 0, refusals: 0 };
  for (let number = 0; number < SEQUENCES; number += 1) {
    const fault = run(number, count);
    if (fault !== undefined)
      t.fail(`${fault}: WHERRY_SEQUENCES=1 WHERRY_FUZZ_SEED=${SEED + number}`);
  }
  t.ok(count.refusals > SEQUENCES / 100, `${count.refusals} sets were refused`);
  t.ok(count.steps > SEQUENCES, `${count.steps} changes`);
  t.end();
});
