/** Callers that still come in plaintext, as the control plane tells of them: of PERMISSIVE ports, by the oldest policy. */
import t from "tap";
import { plaintextText } from "../../../src/cli/observed/plaintext-text.ts";
import { painter } from "../../../src/cli/table.ts";
import { ObservedCalls } from "../../../src/control-plane/observed/observed-calls.ts";
import { plaintextCallers } from "../../../src/control-plane/observed/plaintext.ts";
import type { MeshView } from "../../../src/control-plane/push/catalogue/mesh-view.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { PEER } from "../../support/control-plane/registry.ts";
import {
  mesh,
  peerAuthentication,
} from "../../support/resources/policy-fixtures.ts";

const call = {
  ...{ policy: "", effect: "", peer: "", address: "10.0.0.2", port: 80 },
  ...{ method: "GET", host: "orders", path: "/", count: 1 },
  ...{ firstAge: 0, lastAge: 0 },
};

function viewOf(resources: readonly Resource[]): {
  readonly view: MeshView;
  readonly lists: () => number;
} {
  let lists = 0;
  const view = {
    find: () => mesh({ mtls: { mode: "STRICT" } }),
    list: () => {
      lists += 1;
      return resources;
    },
  } as unknown as MeshView;
  return { view, lists: () => lists };
}

const open = (name: string, creationTimestamp: string): Resource =>
  peerAuthentication(
    name,
    { mtls: { mode: "PERMISSIVE" } },
    { creationTimestamp },
  );

void t.test(
  "the oldest policy decides, and all workloads are judged by one look at the mesh, with pauses",
  async (t) => {
    const observed = new ObservedCalls(fakeClock());
    for (const name of ["b", "a"])
      observed.report(
        { ...PEER, name },
        {
          calls: [call, { ...call, port: 90, count: 4 }],
          dropped: name === "a" ? 2 : 3,
        },
      );
    observed.report(
      { ...PEER, namespace: "far" },
      { calls: [call], dropped: 50 },
    );
    const { view, lists } = viewOf([
      peerAuthentication(
        "shop/young",
        { mtls: { mode: "STRICT" } },
        { creationTimestamp: "2026-02-01T00:00:00Z" },
      ),
      open("shop/old", "2026-01-01T00:00:00Z"),
    ]);
    let paused = 0;
    const { callers, dropped } = await plaintextCallers(
      observed,
      view,
      ({ namespace }) => namespace === "shop",
      () => {
        paused += 1;
        return undefined;
      },
    );
    t.strictSame(
      callers.map(({ workload, port, calls }) => [workload, port, calls]),
      [
        ["a", 90, 4],
        ["a", 80, 1],
        ["b", 90, 4],
        ["b", 80, 1],
      ],
    );
    t.equal(dropped, 5, "of the workloads that are meant");
    t.equal(lists(), 1);
    t.ok(paused > 2);
    const far = await plaintextCallers(
      observed,
      view,
      ({ namespace }) => namespace === "far",
      () => undefined,
    );
    t.strictSame(far, { callers: [], dropped: 50 }, "the Mesh's STRICT");
  },
);

void t.test("what is shown says what found no room", (t) => {
  const paint = painter(false);
  const one = {
    ...{ namespace: "shop", workload: "a", address: "10.0.0.2", port: 80 },
    ...{ calls: 1, first: 0, last: 0 },
  };
  const none = { now: 0, callers: [] };
  t.match(plaintextText(none, paint), /^no call in plaintext came to /);
  t.equal(
    plaintextText({ ...none, dropped: 7 }, paint),
    "no call in plaintext to a PERMISSIVE port is remembered of the last hour\nup to 7 calls found no room and are not judged here\n",
  );
  const some = { now: 0, callers: [one], dropped: 0 };
  t.notMatch(plaintextText(some, paint), /no room/);
  t.match(
    plaintextText({ ...some, dropped: 7 }, paint),
    /10\.0\.0\.2 .*\nup to 7 calls found no room and are not judged here\n$/,
  );
  t.end();
});
