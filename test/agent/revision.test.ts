import t from "tap";
import { revisionFault } from "../../src/agent/revision.ts";

const STORE = "11111111-1111-4111-8111-111111111111";

const KNOWN = { store: STORE, revision: 7, digest: "d" };
for (const [name, known, change, fault] of [
  ["the first one ever", undefined, {}, undefined],
  ["the same store, later", KNOWN, { revision: 8 }, undefined],
  ["the same store, the same revision", KNOWN, {}, undefined],
  [
    "the same store, earlier",
    KNOWN,
    { revision: 6 },
    /another store.*went back to revision 6.*wherry store accept 1111/,
  ],
  [
    "the same store, later, without the revision that is known",
    KNOWN,
    { revision: 8, parted: true },
    /another store.*revision 7.*backup.*wherry store accept 1111/,
  ],
  ["the same, accepted", KNOWN, { parted: true, accepted: true }, undefined],
  ["the same, where nothing is known", undefined, { parted: true }, undefined],
  [
    "another store, later",
    KNOWN,
    { store: "2222", revision: 900 },
    /another store.*now has store 2222.*wherry store accept 2222/,
  ],
  [
    "another store, accepted",
    KNOWN,
    { store: "2222", revision: 1, accepted: true },
    undefined,
  ],
  [
    "the same store, earlier, accepted",
    KNOWN,
    { revision: 1, accepted: true },
    undefined,
  ],
] as const)
  void t.test(
    `a Revision of ${name} is ${fault === undefined ? "followed" : "refused"}`,
    (t) => {
      const reason = revisionFault(known, {
        store: STORE,
        revision: 7,
        digest: "d",
        accepted: false,
        selective: false,
        ...change,
      });
      if (fault === undefined) t.equal(reason, undefined);
      else t.match(reason, fault);
      t.end();
    },
  );
