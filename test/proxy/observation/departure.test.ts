/** What is remembered of one call that leaves the mesh, or would. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { Destination } from "../../../src/policy/snapshot.ts";
import { departureOf } from "../../../src/proxy/departure.ts";
import type { LocalUpstream, Where } from "../../../src/proxy/destination.ts";

void t.test("captured calls say a place, and may say a name", (t) => {
  const place = { host: "192.0.2.1", port: 443 };
  const outside = { kind: "outside", ...place } as const;
  const refused = {
    kind: "refused",
    error: new MeshError("UNKNOWN_DESTINATION", "", { source: "downstream" }),
  } as const;
  const mesh = {
    kind: "mesh",
    destination: { port: { port: 80 } } as Destination,
  } as const;
  const rows: readonly (readonly [
    title: string,
    where: Where,
    said: { readonly authority: string; readonly serverName?: string },
    upstream: LocalUpstream | undefined,
    plan: { readonly external?: string } | undefined,
    expected: string,
  ])[] = [
    [
      "Host",
      outside,
      { authority: "a.example:1" },
      undefined,
      {},
      "passed  192.0.2.1:443 a.example",
    ],
    [
      "the same",
      outside,
      { authority: "192.0.2.1" },
      undefined,
      {},
      "passed  192.0.2.1:443 ",
    ],
    [
      "none",
      outside,
      { authority: "a b" },
      undefined,
      {},
      "passed  192.0.2.1:443 ",
    ],
    [
      "server name",
      outside,
      { authority: "192.0.2.1:443", serverName: "b.example" },
      undefined,
      {},
      "passed  192.0.2.1:443 b.example",
    ],
    [
      "refused for another reason on its way",
      outside,
      { authority: "a" },
      undefined,
      undefined,
      "",
    ],
    [
      "would go outside",
      { ...refused, outside: place },
      { authority: "a.example" },
      undefined,
      undefined,
      "refused  192.0.2.1:443 a.example",
    ],
    [
      "malformed",
      refused,
      { authority: "a.example" },
      undefined,
      undefined,
      "",
    ],
    ["inside", mesh, { authority: "a.example" }, undefined, {}, ""],
    [
      "external by Host",
      mesh,
      { authority: "a.example" },
      undefined,
      { external: "shop/a" },
      "external shop/a a.example:80 ",
    ],
    [
      "external by listener",
      mesh,
      { authority: "a.example" },
      { host: "b.example", port: 80 },
      { external: "shop/a" },
      "external shop/a b.example:80 ",
    ],
    [
      "external by address",
      mesh,
      { authority: "" },
      undefined,
      { external: "shop/a" },
      "external shop/a 192.0.2.7:80 ",
    ],
  ];
  for (const [title, where, said, upstream, plan, expected] of rows) {
    const { authority, serverName } = said;
    const stream = {
      head: { authority },
      connection: {
        serverName,
        originalDestination: { address: "192.0.2.7", port: 443 },
      },
    } as Parameters<typeof departureOf>[2];
    const found = departureOf(where, plan, stream, upstream);
    t.equal(
      found === undefined
        ? ""
        : `${found.verdict} ${found.service} ${found.host}:${found.port} ${found.name}`,
      expected,
      title,
    );
  }
  t.end();
});
