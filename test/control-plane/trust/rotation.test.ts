import t from "tap";
import {
  behindOf,
  outsideOf,
  type Member,
  type Phase,
  type Rotation,
} from "../../../src/control-plane/trust/rotation.ts";

const rotation = (
  phase: Phase,
  abandoned: readonly string[] = [],
): Rotation => ({
  phase,
  from: "old",
  to: "new",
  startedAt: 0,
  since: 1000,
  abandoned,
});

const there: Member = {
  sidecar: "shop/web",
  connected: true,
  takesRoots: true,
  serial: 7,
  root: "old",
  issuedAt: 0,
};
const old: Member = { ...there, takesRoots: false, serial: undefined };

void t.test("whom each phase waits for", (t) => {
  const rows: readonly (readonly [
    string,
    Phase,
    Member,
    RegExp | undefined,
  ])[] = [
    ["add: acknowledged", "add", there, undefined],
    [
      "add: an older bundle",
      "add",
      { ...there, serial: 6 },
      /^it has not acknowledged the new root$/,
    ],
    [
      "add: a later serial is not this one",
      "add",
      { ...there, serial: 8 },
      /not acknowledged/,
    ],
    [
      "add: refused",
      "add",
      { ...there, serial: 6, refused: "no" },
      /^it has refused the roots: no$/,
    ],
    [
      "add: away, and it had not",
      "add",
      { ...there, connected: false, serial: undefined },
      /^it is not connected, and it has not acknowledged the new root$/,
    ],
    ["add: away, and it had", "add", { ...there, connected: false }, undefined],
    ["add: old, certificate before", "add", old, /wait for its renewal/],
    [
      "add: old, certificate since",
      "add",
      { ...old, issuedAt: 1000 },
      undefined,
    ],
    [
      "add: old and away",
      "add",
      { ...old, connected: false, issuedAt: 2000 },
      /not connected/,
    ],
    [
      "reissue: the old root's",
      "reissue",
      there,
      /^it has not shown a certificate of the new root$/,
    ],
    [
      "reissue: the new root's",
      "reissue",
      { ...there, root: "new" },
      undefined,
    ],
    [
      "reissue: of an old version, the new root's",
      "reissue",
      { ...old, root: "new" },
      undefined,
    ],
    [
      "reissue: nobody knows",
      "reissue",
      { sidecar: "shop/web", connected: false, takesRoots: true },
      /not connected/,
    ],
    ["retire: acknowledged", "retire", { ...there, root: "new" }, undefined],
    [
      "retire: not yet",
      "retire",
      { ...there, serial: 6, root: "new" },
      /that the old root is gone/,
    ],
    ["retire: old", "retire", { ...old, root: "new" }, /wait for its renewal/],
  ];
  for (const [what, phase, member, why] of rows) {
    const behind = behindOf(rotation(phase), 7, [member]);
    if (why === undefined) t.same(behind, [], what);
    else t.match(behind, [{ sidecar: "shop/web", why }], what);
  }
  t.end();
});

void t.test(
  "nobody waits for one that is abandoned, and the rest is named",
  (t) => {
    const members = ["shop/a", "shop/b", "shop/c"].map((sidecar) => ({
      ...there,
      sidecar,
      serial: 1,
    }));
    t.same(
      behindOf(rotation("add", ["shop/b"]), 7, members).map(
        ({ sidecar }) => sidecar,
      ),
      ["shop/a", "shop/c"],
    );
    t.end();
  },
);

void t.test("which sidecars an external issuer's roots wait for", (t) => {
  const rows: readonly (readonly [Partial<Member>, string | undefined])[] = [
    [{}, undefined],
    [{ serial: 6 }, "it has not acknowledged the roots"],
    [{ serial: undefined, root: "other" }, "it has not acknowledged the roots"],
    [{ serial: 6, refused: "no" }, "no"],
    [
      { root: "other" },
      "its certificate is of another root than the one that issues",
    ],
    [
      { serial: 6, connected: false },
      "it is not connected, and it has not acknowledged the roots",
    ],
  ];
  for (const [change, why] of rows)
    t.same(
      outsideOf("old", 7, [{ ...there, ...change }]),
      why === undefined ? [] : [{ sidecar: "shop/web", why }],
    );
  t.end();
});
