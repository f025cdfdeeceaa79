/** Which certificates of a deleted Workload's instance are put out with it. */
import t from "tap";
import { revocationOfDeleted } from "../../../src/control-plane/enrolment/revocations.ts";
import { parseTimestamp } from "../../../src/core/clock.ts";
import { Revoked } from "../../../src/identity/revoked.ts";
import { REGISTERED_BY } from "../../../src/resources/workload/schema.ts";
import { PEER } from "../../support/control-plane/registry.ts";

const WALL = Date.UTC(2026, 0, 1) + 995;
const HOUR = 3_600_000;
const WORKLOAD = {
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Workload",
  metadata: {
    name: "web-1",
    namespace: "shop",
    annotations: { [REGISTERED_BY]: PEER.identity },
  },
  spec: {},
};

void t.test("by when their validity begins", (t) => {
  const rows: readonly (readonly [
    string,
    number | undefined,
    number,
    boolean,
  ])[] = [
    ["the one that it shows", WALL - HOUR, WALL - 2 * HOUR, true],
    ["one of just now", undefined, WALL - HOUR, true],
    ["one that is being signed", undefined, WALL + 5 - HOUR, true],
    ["one of a new token", undefined, WALL + 1005 - HOUR, false],
    ["of a clock ahead", WALL + 2 * HOUR, WALL + HOUR, true],
    ["after that", WALL + 2 * HOUR, WALL + HOUR + 1000, false],
  ];
  for (const [what, issuedAt, begins, isOut] of rows) {
    const { spec } =
      revocationOfDeleted(
        WORKLOAD,
        { wall: () => WALL },
        {
          shown: (instance) =>
            issuedAt === undefined
              ? undefined
              : ({ instance, trust: { issuedAt } } as never),
        },
      ) ?? {};
    const { instance, beginsUpTo } = spec as Readonly<Record<string, string>>;
    const revoked = new Revoked([
      { name: "x", instance, beginsUpTo: parseTimestamp(beginsUpTo ?? "") },
    ]);
    const certificate = { serial: "1", begins };
    const proof = { uri: PEER.identity, instance: "shop/web-1", certificate };
    t.equal(revoked.faultOf(proof, [WALL]) !== undefined, isOut, what);
  }
  t.end();
});
