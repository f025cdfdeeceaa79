/** How a config is put in force: between requests (law 16), one after the other, whole or not at all, and at all workers at once. */
import t from "tap";
import type { SharedConfig } from "../../src/agent/agent.ts";
import { makeConfig, type Config } from "../../src/agent/config.ts";
import type { Clock } from "../../src/core/clock.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../src/resources/envelope.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  self,
  service,
  workload,
} from "../support/resources/policy-fixtures.ts";

function take(
  config: Config,
  revision: number,
  resources: readonly Resource[],
): Promise<string | undefined> {
  return config.take(
    {
      version: { store: "s", revision, digest: "" },
      receivedAt: 0,
      resources: new Map(
        resources.map((resource) => [
          formatKey(keyOf(resource)),
          { version: "", resource, bytes: 0 },
        ]),
      ),
    },
    self(),
  );
}

function crowd(count: number): readonly Resource[] {
  return Array.from({ length: count }, (_none, index) => [
    service(`shop/s${index}`),
    workload(`shop/w${index}`, `s${index}`),
  ]).flat();
}

/** A clock by which each step of a compile takes a while. */
function slow(): Clock {
  let looks = 0;
  return { ...fakeClock(), now: () => (looks += 1) / 4 };
}

const revisionOf = ({ snapshot }: Config): number | undefined =>
  snapshot.value?.version.revision;

void t.test(
  "while a large config is compiled the one before serves",
  async (t) => {
    const config = makeConfig(slow());
    t.equal(await take(config, 1, [service("shop/a")]), undefined);
    const seen = new Map<number | undefined, number>();
    let over = false;
    const look = (): void => {
      if (over) return;
      const revision = revisionOf(config);
      seen.set(revision, (seen.get(revision) ?? 0) + 1);
      setImmediate(look);
    };
    setImmediate(look);
    const done = take(config, 2, crowd(200));
    await done;
    over = true;
    t.ok((seen.get(1) ?? 0) > 20, `${seen.get(1) ?? 0} turns of others`);
    t.equal(revisionOf(config), 2);
    t.ok(config.snapshot.value?.destination("s7", 80));
  },
);

void t.test("configs are put in force one after the other", async (t) => {
  const config = makeConfig(slow());
  const inForce: (number | undefined)[] = [];
  config.snapshot.subscribe(() => inForce.push(revisionOf(config)));
  await Promise.all([
    take(config, 1, crowd(50)),
    take(config, 2, crowd(1)),
    take(config, 3, crowd(20)),
  ]);
  t.strictSame(inForce, [1, 2, 3]);
});

void t.test(
  "what cannot be used leaves the one before in force, and does not spoil the next",
  async (t) => {
    const config = makeConfig(fakeClock());
    const resources = crowd(3);
    await take(config, 1, resources);
    const first = config.snapshot.value;
    const odd = { ...service("shop/odd"), kind: "Odd" };
    t.match(await take(config, 2, [...resources, odd]), /Odd shop\/odd/);
    t.equal(config.snapshot.value, first);
    t.equal(config.current?.version.revision, 1);
    t.equal(
      await take(config, 3, [...resources, service("shop/b")]),
      undefined,
    );
    t.equal(
      config.snapshot.value?.destination("s1", 80),
      first?.destination("s1", 80),
    );
    t.ok(config.snapshot.value?.destination("b", 80));
  },
);

void t.test(
  "workers are told what changes of the config in force",
  async (t) => {
    const told: SharedConfig["difference"][] = [];
    let refusal: string | undefined;
    let swaps = 0;
    const config = makeConfig(fakeClock(), {
      compile({ difference }) {
        told.push(difference);
        return Promise.resolve(refusal);
      },
      swap() {
        swaps += 1;
        return Promise.resolve();
      },
    });
    const [a, b, c] = ["a", "b", "c"].map((name) => service(`shop/${name}`));
    const names = (): unknown => {
      const { changed = [], removed } = told.at(-1) ?? {};
      return [changed.map(({ metadata }) => metadata.name), removed];
    };
    if (a === undefined || b === undefined || c === undefined) return;
    await take(config, 1, [a, b]);
    t.strictSame(names(), [["a", "b"], []]);
    refusal = "one of them is out of memory";
    t.equal(await take(config, 2, [b, c]), refusal);
    t.equal(revisionOf(config), 1);
    t.equal(swaps, 1);
    refusal = undefined;
    const next = { ...b, metadata: { ...b.metadata, generation: 2 } };
    await take(config, 3, [a, next, c]);
    t.strictSame(names(), [["b", "c"], []], "what was refused is not there");
    await take(config, 4, [next, c]);
    t.strictSame(names(), [[], ["Service shop/a"]]);
    t.equal(swaps, 3);
  },
);

void t.test("what is in force cannot be changed any more", async (t) => {
  const config = makeConfig(fakeClock());
  const resource = service("shop/a");
  await take(config, 1, [resource]);
  t.throws(() => Object.assign(resource.spec, { ports: [] }), TypeError);
});
