/** What the control plane takes a sidecar to hold, after what it said at the start and after each answer. */
import t from "tap";
import { Catalogue } from "../../../src/control-plane/push/catalogue/catalogue.ts";
import { difference } from "../../../src/control-plane/push/catalogue/scoped-set.ts";
import {
  acknowledge,
  heldAtStart,
  refuse,
  type HeldConfig,
  type Offer,
} from "../../../src/control-plane/push/held-config.ts";
import { statusOf } from "../../../src/control-plane/push/session-status.ts";
import { NODE } from "../../../src/push/names.ts";
import { service } from "../../support/control-plane/push-control-plane.ts";
import { at } from "../../support/resources/random-mesh.ts";

const own = {
  store: { id: "ours", has: () => true },
  revision: 9,
};
const SELF = { namespace: "shop", labels: {}, name: "web-1" };
const SERVICE = "Service/shop/orders";

/** The push of a Service at that revision. */
function offer(revision: number): Offer {
  const catalogue = new Catalogue();
  catalogue.put(at(service("orders"), revision));
  const { set } = catalogue.open(SELF);
  return { set, version: { store: "ours", revision, digest: set.digest } };
}

/** Versions that the sidecar is taken to hold, as what is sent to it tells. */
function holds({ held }: HeldConfig, version: string): boolean {
  const { changed } = difference(held, offer(Number(version)).set);
  return changed.length === 0;
}

const initialVersions = new Map([[SERVICE, "3"]]);

void t.test("a sidecar that has nothing yet", (t) => {
  const known = heldAtStart(
    { node: { id: "n/w", metadata: {} }, initialVersions: new Map() },
    own,
  );
  t.notOk(holds(known, "3"));
  t.equal(known.acknowledged, undefined);
  t.equal(known.receivedAt, undefined);
  t.end();
});

void t.test("versions count where the history is ours", (t) => {
  for (const [store, revision, comparable] of [
    ["ours", "9", true],
    ["ours", "10", false],
    ["another", "5", false],
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
    t.equal(holds(known, "3"), comparable, `${store} ${revision}`);
    t.same(known.acknowledged, {
      store,
      revision: Number(revision),
      digest: "d",
    });
    t.equal(known.receivedAt, 1000);
  }
  t.end();
});

void t.test("what a sidecar says of itself is kept in short", (t) => {
  const long = "x".repeat(60_000);
  const metadata = {
    ...{ [NODE.store]: long, [NODE.digest]: long, [NODE.branch]: long },
    ...{ [NODE.revision]: "3", [NODE.version]: long },
  };
  const node = { id: "n/w", metadata };
  const { acknowledged } = heldAtStart({ node, initialVersions }, own);
  const { agent } = statusOf({ peer: {}, known: {}, node } as never);
  t.equal(acknowledged?.revision, 3);
  for (const text of [
    ...[acknowledged?.store, acknowledged?.digest, acknowledged?.branch],
    agent.version,
  ])
    t.equal(text, "x".repeat(128));
  t.end();
});

void t.test("an acknowledged push is in force and ends a refusal", (t) => {
  const refused = refuse({ held: new Map() }, offer(1), {
    reason: "no",
    at: 10,
    whole: true,
  });
  const known = acknowledge(refused, offer(2), 20);
  t.equal(known.inForce?.digest, offer(2).set.digest);
  t.equal(known.heldDigest, offer(2).set.digest);
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
  t.equal(known.inForce?.digest, offer(1).set.digest);
  t.equal(known.acknowledged?.revision, 1);
  t.equal(known.receivedAt, 10);
  t.equal(known.heldDigest, offer(2).set.digest, "it need not be sent again");
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
  t.equal(known.heldDigest, offer(1).set.digest);
  t.equal(known.held, before.held);
  t.end();
});
