/** A certificateTTL of 60 s, which is allowed: sidecars renew at half of it and not without pause, and no call fails for a renewal. */
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { openAuthority } from "../../../../src/control-plane/authority/authority.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import {
  eventually,
  MESH,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
} from "../../../support/control-plane/push-control-plane.ts";
import { withPair } from "../../../support/meshes/pair.ts";

void t.test("a sidecar is not always renewing", async (t) => {
  const authority = await openAuthority({
    directory: `${await temporaryDirectory(t)}/authority`,
    trustDomain: "cluster.local",
    clock: systemClock,
  });
  const issued: number[] = [];
  const plane = await startTestControlPlane(t, {
    authority: {
      ...authority,
      sign: (csr, request) => {
        issued.push(request.ttlMs);
        return authority.sign(csr, request);
      },
    },
  });
  const spec = {
    authorization: { defaultAction: "ALLOW" },
    mtls: { certificateTTL: "60s" },
  };
  await plane.store.put({ ...MESH, spec }, "absent");
  const agent = await startTestAgent(t, {
    controlPlane: plane.address,
    token: await plane.token(),
  });
  await eventually(agent.state, ({ connected }) => connected);
  // At most one of a fleet's renewals, at half of a minute, falls into this: it asked 26 times a second.
  await pause(3000);
  t.equal(issued[0], 60_000);
  t.equal(issued.length, 1, `${issued.length} certificates in 3 s`);
  t.equal(agent.state.value.certificateAlarm, undefined);
});

for (const linkProtocol of ["h2", "http/1.1"] as const)
  void t.test(
    `renewals at both ends under load fail no call, over ${linkProtocol}`,
    async (t) => {
      await withPair({ linkProtocol }, async (pair) => {
        const { authority, callerAgent, instances } = pair;
        const failed = new Map<string, number>();
        let calls = 0;
        let over = false;
        const caller = async (): Promise<void> => {
          while (!over) {
            const { status, reason } = await pair.call();
            calls += 1;
            const key = `${status} ${reason ?? ""}`;
            if (status !== 200) failed.set(key, (failed.get(key) ?? 0) + 1);
          }
        };
        const callers = Array.from({ length: 16 }, caller);
        for (let renewal = 0; renewal < 40; renewal += 1) {
          const before = calls;
          // Connections are being made, and calls wait for them.
          while (calls < before + 4) await pause(1);
          callerAgent.credentials.set(authority.credentials("web"));
          instances[0]?.agent?.credentials.set(authority.credentials("orders"));
        }
        over = true;
        await Promise.all(callers);
        t.same([...failed], [], `${calls} calls`);
      });
    },
  );
