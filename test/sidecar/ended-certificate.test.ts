/** A sidecar that starts with a certificate that has ended, while the control plane is away: it says when that was. */
import t from "tap";
import { startAgent } from "../../src/agent/mesh-agent.ts";
import { silentLogger } from "../../src/core/log.ts";
import { startSidecar } from "../../src/sidecar/sidecar.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  eventually,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
} from "../support/control-plane/push-control-plane.ts";
import { call } from "../support/peers/call.ts";

const HOUR = 3_600_000;

void t.test(
  "a certificate that has ended is shown with its end, and below zero",
  async (t) => {
    const plane = await startTestControlPlane(t);
    const stateDirectory = await temporaryDirectory(t);
    const before = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      stateDirectory,
    });
    const enrolled = await eventually(
      before.credentials,
      (value) => value !== undefined,
    );
    await before.close();
    await plane.close();
    const end = enrolled?.notAfter ?? 0;
    const clock = fakeClock({ wall: end + HOUR });
    const sidecar = await startSidecar({
      agent: () =>
        startAgent({
          ...{ clock, logger: silentLogger, stateDirectory },
          controlPlane: plane.address,
          version: "1.2.3",
        }),
      host: "127.0.0.1",
      ports: { outbound: 0, link: 0, admin: 0, metrics: 0 },
      clock,
    });
    t.teardown(() => sidecar.destroy());
    const page = async (port: number | undefined, path: string) =>
      (await call(`http://127.0.0.1:${port ?? 0}${path}`)).text;
    const { metrics, admin } = sidecar.ports;
    t.match(
      await page(metrics, "/metrics"),
      "wherry_certificate_expiry_seconds -3600\n",
    );
    t.match(
      await page(metrics, "/readyz"),
      `to ${new Date(end).toISOString()}`,
    );
    t.match(await page(admin, "/certs"), '"expiresInSeconds": -3600');
  },
);
