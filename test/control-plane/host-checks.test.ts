/** Claims of hosts when they are written: what the Mesh gives to others is refused, and a Mesh that takes hosts says from which Services. */
import t from "tap";
import { checkAgainstStore } from "../../src/control-plane/checks.ts";
import { Catalogue } from "../../src/control-plane/push/catalogue/catalogue.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import type { HostClaims } from "../../src/resources/mesh/host-claims.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { mesh, service } from "../support/resources/policy-fixtures.ts";

const CLAIMS: HostClaims = [{ hosts: ["*.pay.example"], namespaces: ["pay"] }];

function external(name: string, host: string): Resource {
  return service(name, {
    location: "MESH_EXTERNAL",
    hosts: [host],
    ports: [{ port: 443, appProtocol: "tls" }],
  });
}

async function said(
  stored: readonly Resource[],
  written: readonly Resource[],
): Promise<readonly string[]> {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  for (const resource of stored) await store.put(resource, undefined);
  const found = await checkAgainstStore(written, {
    ...{ store, clock, trustDomain: "cluster.local" },
    mesh: {
      current: () =>
        Promise.resolve({ mesh: new Catalogue().mesh, revision: 0 }),
    },
  });
  return found
    .flat()
    .map(
      ({ path, message, severity = "error" }) =>
        `${severity} ${path}: ${message}`,
    );
}

const THIEF = external("shop/thief", "api.pay.example");
const REFUSED =
  /^error spec\.hosts\[0\]: "api\.pay\.example" belongs to namespace pay by spec\.hostClaims\[0\] of the Mesh, and this Service is in namespace shop$/;
const TAKES =
  /^warning spec\.hostClaims: takes hosts from Service shop\/thief: calls/;

/** What is stored, what is written, and what is said of it. */
const TABLE: readonly (readonly [
  string,
  readonly Resource[],
  readonly Resource[],
  readonly RegExp[],
])[] = [
  [
    "by the Mesh that is stored",
    [mesh({ hostClaims: CLAIMS })],
    [THIEF],
    [REFUSED],
  ],
  [
    "by the Mesh of the same list, whatever its order",
    [],
    [THIEF, mesh({ hostClaims: CLAIMS })],
    [REFUSED],
  ],
  [
    "the Mesh of the list lets it be",
    [mesh({ hostClaims: CLAIMS })],
    [THIEF, mesh({})],
    [],
  ],
  [
    "its owner",
    [mesh({ hostClaims: CLAIMS })],
    [external("pay/own", "api.pay.example")],
    [],
  ],
  [
    "nobody's host",
    [mesh({ hostClaims: CLAIMS })],
    [external("shop/x", "x.example")],
    [],
  ],
  ["without a rule", [mesh({})], [THIEF], []],
  [
    "a Mesh that takes the host of a Service",
    [mesh({}), THIEF, external("pay/own", "own.pay.example")],
    [mesh({ hostClaims: CLAIMS })],
    [TAKES],
  ],
  [
    "a Service of the list that gives it up",
    [mesh({}), THIEF],
    [mesh({ hostClaims: CLAIMS }), external("shop/thief", "x.example")],
    [],
  ],
];

for (const [title, stored, written, expected] of TABLE)
  void t.test(title, async (t) => {
    const lines = await said(stored, written);
    t.equal(lines.length, expected.length, lines.join("; "));
    for (const [index, words] of expected.entries())
      t.match(lines[index], words);
  });

void t.test("many Services that lose hosts are counted", async (t) => {
  const many = Array.from({ length: 8 }, (_none, index) =>
    external(`shop/s${index}`, `s${index}.pay.example`),
  );
  t.match(await said([mesh({}), ...many], [mesh({ hostClaims: CLAIMS })]), [
    /s0, .*s4 and 3 more: calls to these hosts/,
  ]);
});
