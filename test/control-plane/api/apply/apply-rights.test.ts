/** Who may write what by a list: the rights are those of each namespace, and of a write by itself. */
import t from "tap";
import {
  apply,
  BROKEN,
  into,
  MESH,
  outcomes,
  service,
  told,
  workload,
  type Body,
} from "../../../support/control-plane/apply.ts";
import { rig } from "../../../support/control-plane/api.ts";

void t.test("rights are those of each namespace", async (t) => {
  const world = await rig(t);
  const { api, as } = world;
  const anonymous = await api.inject({
    method: "POST",
    url: "/apply",
    headers: { "content-type": "application/json" },
    payload: { items: [] },
  });
  t.equal(anonymous.statusCode, 401);
  const viewer = await apply(
    world,
    [service("shop/a")],
    "",
    await as("viewer"),
  );
  t.equal(viewer.code, 403);
  t.match(viewer.body, { message: /role viewer, which only reads/ });
  t.equal((await apply(world, [], "", await as("viewer"))).code, 403);

  const editor = await as("editor", ["shop"]);
  const answer = await apply(
    world,
    [
      service("shop/a"),
      service("else/a"),
      // What is wrong with it is not told to whoever may not write there.
      BROKEN,
      service("wherry-system/a"),
      MESH,
    ],
    "",
    editor,
  );
  t.equal(answer.code, 207);
  t.same(outcomes(answer), [
    "created shop/a",
    "refused else/a",
    "refused bad/broken",
    "refused wherry-system/a",
    "refused /default",
  ]);
  t.match(told(answer, "causes"), [
    /^items\[1\]: this token is for the namespaces shop, not for else/,
    /^items\[2\]: this token is for the namespaces shop/,
    /^items\[3\]: writing in namespace wherry-system.* needs an admin token/,
    /^items\[4\]: writing a resource of the whole mesh needs an admin token/,
  ]);
  const forbidden = await apply(
    world,
    [BROKEN, service("shop/b", {}, { colour: "blue" })],
    "",
    editor,
  );
  t.equal(forbidden.code, 403, "the gravest reason is the reason of all");
});

void t.test(
  "what acts on others needs the same right as in a write by itself",
  async (t) => {
    const world = await rig(t);
    const editor = await world.as("editor", ["shop"]);
    await apply(world, [workload("shop/known", "10.0.0.1")]);
    world.world.leased.add("shop/leased");
    const external = {
      location: "MESH_EXTERNAL",
      hosts: ["api.example"],
      ports: [{ port: 443 }],
      selector: undefined,
    };
    const rows: readonly (readonly [Body, RegExp | undefined])[] = [
      [workload("shop/known", "10.0.0.1"), undefined],
      [workload("shop/known", "10.0.0.2"), /address of a Workload draws/],
      [workload("shop/other", "10.0.0.3"), /address of a Workload draws/],
      [workload("shop/leased", "10.0.0.4"), /registered by its sidecar/],
      [
        into("shop", {
          ...workload("shop/own", "10.0.0.5"),
          metadata: {
            name: "own",
            annotations: { "mesh.wherry.dev/registered-by": "x" },
          },
        }),
        /says that a sidecar registered/,
      ],
      [
        service("shop/out", {}, { ...external, exportTo: ["*"] }),
        /act on the calls of every namespace/,
      ],
      [service("shop/out", {}, { ...external, exportTo: ["."] }), undefined],
    ];
    for (const [item, expected] of rows) {
      const answer = await apply(world, [item], "", editor);
      if (expected === undefined) t.equal(answer.code, 200, answer.text);
      else {
        t.equal(answer.code, 403);
        t.match(answer.body, { message: expected });
      }
    }
  },
);
