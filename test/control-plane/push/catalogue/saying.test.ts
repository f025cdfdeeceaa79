/** What sidecars of the schema before are told of Services with wildcards: nothing of them, and their other hosts are closed. */
import t from "tap";
import {
  Item,
  resourceEntry,
} from "../../../../src/control-plane/push/catalogue/item.ts";
import { Sayings } from "../../../../src/control-plane/push/catalogue/saying.ts";
import { FIELDS_SINCE } from "../../../../src/push/fields-since.ts";
import { service } from "../../../support/resources/policy-fixtures.ts";

const HOSTS: readonly (readonly [
  hosts: readonly string[],
  closed: readonly string[] | undefined,
])[] = [
  [["*.example.com"], undefined],
  [["*.example.com", "a.example.org"], ["a.example.org"]],
];

void t.test("wildcards are of schema 5", (t) => {
  const sayings = (schema: number): Sayings =>
    new Sayings(
      schema,
      FIELDS_SINCE,
      () => undefined,
      () => [],
    );
  for (const [index, [hosts, closed]] of HOSTS.entries()) {
    const meant = service("shop/w", {
      location: "MESH_EXTERNAL",
      hosts,
      ports: [{ port: 80 }],
    });
    const item = new Item("Service/shop/w", index);
    const entry = resourceEntry(item, meant, () => undefined);
    t.equal(sayings(5).of(entry).kind, "said");
    const saying = sayings(4).of(entry);
    t.match(saying, { kind: "withheld", fields: ["spec.hosts"], schema: 5 });
    if (saying.kind !== "withheld") continue;
    t.strictSame(
      saying.closed?.resource?.spec,
      closed && {
        ...meant.spec,
        hosts: closed,
        resolution: "STATIC",
        endpoints: [{ address: "255.255.255.255" }],
      },
    );
  }
  const named = service("shop/n", {
    location: "MESH_EXTERNAL",
    hosts: ["a.example.org"],
    ports: [{ port: 80 }],
  });
  const entry = resourceEntry(
    new Item("Service/shop/n", 9),
    named,
    () => undefined,
  );
  t.equal(sayings(4).of(entry).kind, "said", "others are as they were");
  t.end();
});
