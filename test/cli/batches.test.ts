/** How a list of resources is cut into requests. */
import t from "tap";
import { batchesOf, type Size } from "../../src/cli/batches.ts";
import type { Resource } from "../../src/resources/envelope.ts";

const item = (
  namespace: string,
  name: string,
  kind = "Service",
  note = "",
): { readonly resource: Resource } => ({
  resource: {
    apiVersion: "v1",
    kind,
    metadata: { name, ...(namespace === "" ? {} : { namespace }) },
    spec: { note },
  },
});

const WIDE: Size = { items: 4, bytes: 1e6, values: 1e6 };

function cut(
  items: readonly { readonly resource: Resource }[],
  largest: Size,
): string[] {
  return batchesOf(items, largest).map((batch) =>
    batch
      .map(
        ({ resource: { metadata } }) =>
          `${metadata.namespace ?? ""}/${metadata.name}`,
      )
      .join(" "),
  );
}

void t.test("what fits is one list, in its own order", (t) => {
  t.same(batchesOf([]), []);
  t.same(
    cut([item("b", "1"), item("a", "2"), item("", "m"), item("b", "3")], WIDE),
    ["b/1 a/2 /m b/3"],
  );
  t.end();
});

void t.test("a namespace stays together where it fits", (t) => {
  t.same(
    cut(
      [
        item("a", "1"),
        item("b", "1"),
        item("a", "2"),
        item("c", "1"),
        item("b", "2"),
        item("a", "3"),
      ],
      WIDE,
    ),
    ["a/1 a/2 a/3", "b/1 b/2 c/1"],
  );
  t.end();
});

void t.test(
  "of one that does not fit, what others refer to goes first",
  (t) => {
    t.same(
      cut(
        [
          item("a", "r", "HTTPRoute"),
          item("a", "w1", "Workload"),
          item("a", "s1"),
          item("a", "w2", "Workload"),
          item("a", "s2"),
          item("b", "s"),
        ],
        WIDE,
      ),
      ["a/s1 a/s2 a/w1 a/w2", "a/r b/s"],
    );
    t.end();
  },
);

void t.test("bytes and values count as the API counts them", (t) => {
  const items = Array.from({ length: 4 }, (_, index) =>
    item(`n${index}`, "é", "Service", "ü".repeat(100)),
  );
  const body = (count: number): string =>
    JSON.stringify({
      items: items.slice(0, count).map(({ resource }) => resource),
    });
  const bytes = Buffer.byteLength(body(2));
  t.equal(cut(items, { ...WIDE, bytes: bytes + 1 }).length, 2);
  t.ok(cut(items, { ...WIDE, bytes: bytes - 1 }).length > 2);
  // The list, its items, and of each: itself, metadata, spec and four texts.
  t.equal(cut(items, { ...WIDE, values: 2 + 2 * 8 }).length, 2);
  t.equal(cut(items, { ...WIDE, values: 2 + 2 * 8 - 1 }).length, 4);
  t.same(
    cut(items.slice(0, 1), { ...WIDE, bytes: 10 }),
    ["n0/é"],
    "a single one goes by itself, and the API says what it is",
  );
  t.end();
});
