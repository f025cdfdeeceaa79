/** A token that comes later, in a file, is waited for. */
import t from "tap";
import { startCertificates } from "../../../src/agent/enrolment/certificates.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import {
  MESH,
  startTestControlPlane,
  temporaryDirectory,
  until,
} from "../../support/control-plane/push-control-plane.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

void t.test(
  "a token that is not there yet is waited for, and read anew for each try",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() - 3_600_000 });
    const plane = await startTestControlPlane(t, { clock });
    await plane.store.put(MESH, "absent");
    const file: { text?: string } = {};
    let looks = 0;
    const certificates = await startCertificates({
      address: plane.address,
      name: "web-1",
      directory: await openStateDirectory(await temporaryDirectory(t)),
      rotateAt: () => 0.5,
      clock,
      logger: silentLogger,
      token: () => {
        looks += 1;
        return Promise.resolve(file.text);
      },
    });
    t.after(() => certificates.close());
    await until(() => certificates.fault.value.error !== undefined);
    t.match(certificates.fault.value.error, /not there yet/);
    for (let past = looks; looks < 5; past = looks) {
      clock.advance(1000);
      await until(() => looks > past);
    }
    file.text = await plane.token();
    await until(() => {
      clock.advance(1000);
      return certificates.latest !== undefined;
    });
    t.match(certificates.latest?.id, /spiffe:/);
    t.equal(certificates.fault.value.error, undefined);
  },
);
