import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { checkTogether } from "../../../src/resources/cross-checks/check-together.ts";
import {
  concernedBy,
  type ResourceChange,
} from "../../../src/resources/cross-checks/concerned.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { randomResource } from "../../support/resources/random-mesh.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

type Mesh = ReadonlyMap<string, Resource>;
/** By key, in the order of the texts. */
type Said = ReadonlyMap<string, readonly string[]>;

const SECURITY = ["AuthorizationPolicy", "PeerAuthentication", "Telemetry"];
/** Faults of random meshes end on the first of December. */
const WALLS = [Date.UTC(2026, 10, 1), Date.UTC(2026, 11, 2)];

function isFar({ kind, spec }: Resource): boolean {
  return (
    SECURITY.includes(kind) ||
    (spec as { readonly location?: string }).location === "MESH_EXTERNAL"
  );
}

function said(
  about: readonly Resource[],
  all: readonly Resource[],
  mesh: Mesh,
  wall: number,
): Said {
  const remarks = atOnce(
    checkTogether(
      all.map((resource) => ({ resource })),
      (key) => mesh.get(formatKey(key)),
      wall,
    ),
  );
  return new Map(
    about.map((resource) => [
      formatKey(keyOf(resource)),
      remarks
        .filter((remark) => remark.about.resource === resource)
        .map(({ problem }) => `${problem.path}: ${problem.message}`)
        .sort(),
    ]),
  );
}

/** What is said after the change, of all by what is said before where the change does not concern it. Undefined where it may concern all. */
function followed(
  before: Said,
  mesh: Mesh,
  changes: readonly ResourceChange[],
  wall: number,
): { readonly said: Said; readonly judged: number } | undefined {
  const concerned = atOnce(
    concernedBy(changes, [...mesh.values()], (key) => mesh.get(formatKey(key))),
  );
  if (concerned === undefined) return undefined;
  const { about, all } = concerned;
  const after = new Map(before);
  for (const key of before.keys()) if (!mesh.has(key)) after.delete(key);
  const anew = said([...about], all, mesh, wall);
  for (const [key, some] of anew) after.set(key, some);
  for (const key of mesh.keys()) if (!after.has(key)) after.set(key, []);
  return { said: after, judged: all.length };
}

for (const [what, draws, drawn] of [
  ["any mesh", 1500, () => true],
  [
    "a mesh without selectors of policies and without external Services",
    3000,
    (resource: Resource) => !isFar(resource),
  ],
] as const)
  void t.test(`after a change of ${what} the same is said`, (t) => {
    const draw = seeded(11);
    const { pick, upTo, chance } = dice(draw);
    const counts = { followed: 0, all: 0, less: 0, remarks: 0 };
    let mesh = new Map<string, Resource>();
    let known: Said = new Map();
    for (let round = 0; round < draws; round += 1) {
      if (round % 150 === 0) {
        mesh = new Map();
        known = new Map();
      }
      const next = new Map(mesh);
      for (let count = upTo(2); count >= 0; count -= 1) {
        const resource = randomResource(draw);
        if (chance(0.3) && mesh.size > 0) next.delete(pick([...mesh.keys()]));
        else if (drawn(resource))
          next.set(formatKey(keyOf(resource)), resource);
      }
      const changes = [...new Set([...mesh.keys(), ...next.keys()])]
        .map((key) => ({ before: mesh.get(key), after: next.get(key) }))
        .filter(({ before, after }) => before !== after);
      const wall = pick(WALLS);
      const all = [...next.values()];
      const expected = said(all, all, next, wall);
      const found = followed(known, next, changes, wall);
      if (found === undefined) counts.all += 1;
      else {
        counts.followed += 1;
        if (found.judged < all.length) counts.less += 1;
        t.strictSame(
          Object.fromEntries([...found.said].sort()),
          Object.fromEntries([...expected].sort()),
          `round ${round}`,
        );
      }
      for (const some of expected.values()) counts.remarks += some.length;
      [mesh, known] = [next, expected];
    }
    t.ok(counts.followed > draws / 10, JSON.stringify(counts));
    t.ok(counts.less > draws / 20, JSON.stringify(counts));
    t.ok(counts.remarks > draws, JSON.stringify(counts));
    t.end();
  });
