/** After an upgrade, what the store holds and this version refuses is told at the start, and what it has judged once is not judged again. */
import t from "tap";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Store } from "../../src/control-plane/store/store.ts";
import { tellOfStoredFaults } from "../../src/control-plane/stored-faults.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { keptLog, type LogLine } from "../support/laws/harness.ts";
import {
  authorizationPolicy,
  service,
} from "../support/resources/policy-fixtures.ts";

async function told(
  store: Store,
  program = "this",
  signal = new AbortController().signal,
): Promise<readonly LogLine[]> {
  const { logger, lines } = keptLog();
  await tellOfStoredFaults({
    store,
    program: () => Promise.resolve(program),
    clock: fakeClock(),
    logger,
    signal,
  });
  return lines;
}

const SINGLE_LABEL = service("bank/partner", {
  location: "MESH_EXTERNAL",
  hosts: ["orders"],
});

void t.test(
  "each refused resource, twenty at most, and no other",
  async (t) => {
    const store = openMemoryStore({ clock: fakeClock() });
    await store.put(service("shop/orders"), undefined);
    t.same(await told(store), []);
    await store.put(SINGLE_LABEL, undefined);
    t.match(await told(store), [
      {
        resource: "Service bank/partner",
        field: "spec.hosts[0]",
        reason: /single label/,
      },
    ]);
    for (let index = 0; index < 25; index += 1)
      await store.put(
        authorizationPolicy(`istio-system/p${index}`, {}),
        undefined,
      );
    const many = await told(store);
    t.equal(many.length, 21);
    t.match(many.at(-1), { more: 6 });
  },
);

/** Those of a large store that are judged: `list` gives resources that say so when they are. */
function watched(store: Store): { readonly store: Store; judged: string[] } {
  const judged: string[] = [];
  return {
    judged,
    store: {
      ...store,
      revision: () => store.revision(),
      note: (name) => store.note(name),
      setNote: (name, value) => store.setNote(name, value),
      async list(kind) {
        const { resources, revision } = await store.list(kind);
        return {
          revision,
          resources: resources.map((resource) => ({
            ...resource,
            get spec() {
              judged.push(resource.metadata.name);
              return resource.spec;
            },
          })),
        };
      },
    },
  };
}

async function large(): Promise<Store> {
  const store = openMemoryStore({ clock: fakeClock() });
  await store.transact(
    Array.from({ length: 1001 }, (_, index) => ({
      resource: service(`shop/s${index}`),
      expected: undefined,
    })),
  );
  return store;
}

/** The names of what a start of the program judges. */
async function judgedBy(store: Store, program: string): Promise<string[]> {
  const seen = watched(store);
  await told(seen.store, program);
  return [...new Set(seen.judged)];
}

void t.test("what one program has judged", async (t) => {
  const store = await large();
  t.equal((await judgedBy(store, "one")).length, 1001);
  t.same(await judgedBy(store, "one"), [], "is not judged by it again");
  await store.put(service("shop/s7", { ports: [{ port: 81 }] }), undefined);
  t.same(await judgedBy(store, "one"), ["s7"], "but for what came since");
  t.same(await judgedBy(store, "one"), []);
  t.equal((await judgedBy(store, "other")).length, 1001, "by another it is");
  t.equal((await judgedBy(store, "one")).length, 1001, "and by the first");
  await store.setNote("judged", "one 1003");
  t.equal(
    (await judgedBy(store, "one")).length,
    1001,
    "and where the store is at an earlier revision than it was",
  );
});

void t.test("what is refused is told after each start", async (t) => {
  const store = await large();
  t.same(await told(store), []);
  await store.put(SINGLE_LABEL, undefined);
  for (const start of [1, 2, 3])
    t.match(
      await told(store),
      [{ resource: "Service bank/partner" }],
      `${start}`,
    );
  await store.remove({
    kind: "Service",
    namespace: "bank",
    name: "partner",
  });
  t.same(await told(store), []);
});

void t.test("a look that is ended notes nothing", async (t) => {
  const store = await large();
  const stop = new AbortController();
  stop.abort();
  t.same(await told(store, "this", stop.signal), []);
  t.equal(await store.note("judged"), undefined);
});
