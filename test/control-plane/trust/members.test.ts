/** Which sidecars a rotation waits for, and when it forgets one that has left. */
import t from "tap";
import type { SidecarStatus } from "../../../src/control-plane/push/status.ts";
import type { Registry } from "../../../src/control-plane/registry/registry.ts";
import { Members } from "../../../src/control-plane/trust/members.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { TRUST_DOMAIN } from "../../support/control-plane/push-control-plane.ts";

function sidecar(
  name: string,
  connected: boolean,
  more: { readonly account?: string; readonly schema?: number } = {},
): SidecarStatus {
  const { account = "web", schema = 5 } = more;
  return {
    name,
    namespace: "shop",
    serviceAccount: account,
    labels: {},
    identity: `spiffe://${TRUST_DOMAIN}/ns/shop/sa/${account}`,
    connected,
    connectedSince: 0,
    peer: "10.0.0.1",
    pending: false,
    certificateSerial: "1",
    certificateExpiresAt: 1,
    trust: { root: "root", issuedAt: 0 },
    agent: { version: "0.1.0", schema },
  };
}

/** Each Workload is of the account "web". */
const lease: Registry["lease"] = (workload) => ({
  ...{ workload, identity: sidecar("", true).identity },
  ...{ ready: true, held: true, confirmed: true },
});

interface Look {
  /** Milliseconds since the look before. */
  readonly after?: number;
  readonly sidecars: readonly SidecarStatus[];
  readonly leased?: readonly string[];
  /** "name", or "name!" for one that is not connected. */
  readonly counted: readonly string[];
}

const here = [sidecar("a", true)];
const gone = [sidecar("a", false)];

const TABLE: readonly (readonly [title: string, looks: readonly Look[]])[] = [
  [
    "one that is connected, and none that was never seen",
    [{ sidecars: [...here, sidecar("b", false)], counted: ["a"] }],
  ],
  [
    "one that left counts for a minute",
    [
      { sidecars: here, counted: ["a"] },
      { after: 59_999, sidecars: gone, counted: ["a!"] },
      { after: 1, sidecars: gone, counted: [] },
    ],
  ],
  [
    "one that is back is not forgotten, and has a minute again",
    [
      { sidecars: here, counted: ["a"] },
      { after: 59_999, sidecars: here, counted: ["a"] },
      { after: 59_999, sidecars: gone, counted: ["a!"] },
      { after: 1, sidecars: gone, counted: [] },
      { after: 1, sidecars: here, counted: ["a"] },
    ],
  ],
  [
    "one whose Workload is registered counts for as long as that is",
    [
      { sidecars: here, leased: ["shop/a"], counted: ["a"] },
      { after: 600_000, sidecars: gone, leased: ["shop/a"], counted: ["a!"] },
      { sidecars: [], leased: ["shop/a"], counted: ["a!"] },
      { sidecars: gone, counted: [] },
    ],
  ],
  [
    "of two with the same name, each is waited for",
    [
      {
        sidecars: [
          sidecar("a", false, { account: "old" }),
          sidecar("a", true, { account: "new" }),
        ],
        counted: ["a!", "a"],
      },
      {
        sidecars: [
          sidecar("a", true, { account: "web" }),
          sidecar("a", true, { account: "other" }),
        ],
        counted: ["a", "a"],
      },
      {
        after: 60_000,
        sidecars: [sidecar("a", true, { account: "other" })],
        leased: ["shop/a"],
        counted: ["a", "a!"],
      },
    ],
  ],
  [
    "by their names",
    [
      {
        sidecars: [sidecar("c", true), sidecar("a", true)],
        leased: ["shop/b"],
        counted: ["a", "b!", "c"],
      },
    ],
  ],
];

for (const [title, looks] of TABLE)
  void t.test(title, async (t) => {
    const clock = fakeClock();
    let now: Look = { sidecars: [], counted: [] };
    const members = new Members({
      clock,
      push: { status: () => Promise.resolve([...now.sidecars]) },
      registry: {
        get registered() {
          return [...(now.leased ?? [])];
        },
        lease,
      },
    });
    for (const look of looks) {
      clock.advance(look.after ?? 0);
      now = look;
      const counted = (await members.look()).map(
        (each) =>
          `${each.sidecar.replace("shop/", "")}${each.connected ? "" : "!"}`,
      );
      t.same(counted, look.counted);
    }
  });

void t.test("which of them take roots", async (t) => {
  const members = new Members({
    clock: fakeClock(),
    push: {
      status: () =>
        Promise.resolve([
          sidecar("a", true, { schema: 4 }),
          sidecar("b", true, { schema: 5 }),
        ]),
    },
    registry: { registered: ["shop/c"], lease },
  });
  t.match(await members.look(), [
    { sidecar: "shop/a", takesRoots: false },
    { sidecar: "shop/b", takesRoots: true },
    { sidecar: "shop/c", takesRoots: true },
  ]);
});
