/** What the control plane takes a sidecar to hold, after what it said at the start and after each answer. */
import t from "tap";
import type { ScopedSet } from "../../../src/control-plane/push/catalogue.ts";
import {
  acknowledge,
  heldAtStart,
  refuse,
  type Offer,
} from "../../../src/control-plane/push/held-config.ts";
import { NODE } from "../../../src/push/names.ts";

const own = { store: "ours", revision: 9 };
const set = (digest: string): ScopedSet => ({ entries: new Map(), digest });
const offer = (revision: number): Offer => ({
  set: set(`digest ${revision}`),
  version: { store: "ours", revision, digest: `digest ${revision}` },
});
const initialVersions = new Map([["a", "3"]]);

void t.test("a sidecar that has nothing yet", (t) => {
  const known = heldAtStart(
    { node: { id: "n/w", metadata: {} }, initialVersions: new Map() },
    own,
  );
  t.equal(known.held.size, 0);
  t.equal(known.acknowledged, undefined);
  t.equal(known.receivedAt, undefined);
  t.end();
});

void t.test("versions count where the history is ours", (t) => {
  for (const [store, revision, version] of [
    ["ours", "9", "3"],
    ["ours", "10", ""],
    ["another", "5", ""],
  ] as const) {
    const known = heldAtStart(
      {
        node: {
          id: "n/w",
          metadata: {
            [NODE.store]: store,
            [NODE.revision]: revision,
            [NODE.digest]: "d",
            [NODE.receivedAt]: "1000",
          },
        },
        initialVersions,
      },
      own,
    );
    t.same(known.held.get("a"), { version }, `${store} ${revision}`);
    t.same(known.acknowledged, {
      store,
      revision: Number(revision),
      digest: "d",
    });
    t.equal(known.receivedAt, 1000);
  }
  t.end();
});

void t.test("an acknowledged push is in force and ends a refusal", (t) => {
  const refused = refuse({ held: new Map() }, offer(1), {
    reason: "no",
    at: 10,
    whole: true,
  });
  const known = acknowledge(refused, offer(2), 20);
  t.equal(known.inForce?.digest, "digest 2");
  t.equal(known.heldDigest, "digest 2");
  t.equal(known.acknowledged?.revision, 2);
  t.equal(known.receivedAt, 20);
  t.equal(known.refusal, undefined);
  t.end();
});

void t.test("a refused push leaves what is in force", (t) => {
  const before = acknowledge({ held: new Map() }, offer(1), 10);
  const known = refuse(before, offer(2), {
    reason: "x".repeat(5000),
    at: 20,
    whole: true,
  });
  t.equal(known.inForce?.digest, "digest 1");
  t.equal(known.acknowledged?.revision, 1);
  t.equal(known.receivedAt, 10);
  t.equal(known.heldDigest, "digest 2", "it need not be sent again");
  t.equal(known.refusal?.version.revision, 2);
  t.equal(known.refusal?.reason.length, 2048);
  t.equal(known.refusal?.at, 20);
  t.end();
});

void t.test("a push that is refused before its end is not held", (t) => {
  const before = acknowledge({ held: new Map() }, offer(1), 10);
  const known = refuse(before, offer(2), {
    reason: "no",
    at: 20,
    whole: false,
  });
  t.equal(known.heldDigest, "digest 1");
  t.equal(known.held, before.held);
  t.end();
});
