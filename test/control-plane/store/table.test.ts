/** The table keeps what was put last under each key, in the order of listings. */
import t from "tap";
import { ResourceTable } from "../../../src/control-plane/store/table.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

void t.test(
  "it reads as a plain map of the same puts and removals, sorted",
  (t) => {
    const random = seededRandom(7);
    const upTo = (count: number): number => Math.floor(random() * count);
    const table = new ResourceTable();
    const plain = new Map<string, Resource>();
    for (let round = 0; round < 2000; round += 1) {
      const resource: Resource = {
        apiVersion: "v1",
        kind: ["A", "B"][upTo(2)] ?? "",
        metadata: {
          name: `n${upTo(30)}`,
          ...(upTo(4) === 0 ? {} : { namespace: `s${upTo(3)}` }),
        },
        spec: round,
      };
      const key = keyOf(resource);
      if (upTo(3) === 0) {
        table.remove(key);
        plain.delete(formatKey(key));
      } else {
        table.put(key, resource);
        plain.set(formatKey(key), resource);
      }
      if (table.get(key) !== plain.get(formatKey(key)))
        t.fail(`round ${round}: ${formatKey(key)} is another one`);
    }
    const order = ({ metadata: { namespace = "", name } }: Resource): string =>
      `${namespace}\0${name}`;
    const expected = (kind: string, namespace?: string): unknown[] =>
      [...plain.values()]
        .filter((each) => each.kind === kind)
        .filter(
          ({ metadata }) =>
            namespace === undefined || (metadata.namespace ?? "") === namespace,
        )
        .sort((a, b) => (order(a) < order(b) ? -1 : 1))
        .map(({ spec }) => spec);
    for (const kind of ["A", "B", "none"])
      for (const namespace of [undefined, "", "s0", "s1", "s2", "none"])
        t.same(
          table.list(kind, namespace).map(({ spec }) => spec),
          expected(kind, namespace),
          `${kind} ${namespace ?? "everywhere"}`,
        );
    t.end();
  },
);

void t.test("a listing is the reader's own", (t) => {
  const table = new ResourceTable();
  const resource: Resource = {
    apiVersion: "v1",
    kind: "A",
    metadata: { name: "a", namespace: "s" },
    spec: {},
  };
  table.put(keyOf(resource), resource);
  table.list("A", "s").pop();
  table.list("A").pop();
  t.equal(table.list("A").length, 1);
  t.end();
});
