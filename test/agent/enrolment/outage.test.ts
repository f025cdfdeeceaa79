/** A sidecar comes through an outage of any length, and its renewal ends with its process alone. */
import t from "tap";
import type { Certificates } from "../../../src/agent/enrolment/certificates.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { openAuthority } from "../../../src/control-plane/authority/authority.ts";
import {
  DAY,
  enrolled,
  goOnUntil,
  HOUR,
  settled,
  type Enrolled,
} from "../../support/control-plane/enrolled.ts";
import {
  eventually,
  startTestControlPlane,
  temporaryDirectory,
} from "../../support/control-plane/push-control-plane.ts";

const SECOND = 1000;

void t.test(
  "after an outage past the certificate's end, the expired one gets another without a hand on it",
  async (t) => {
    for (const [what, length] of [
      ["a second past its end", DAY + SECOND],
      ["29 days past it", 30 * DAY],
    ] as const) {
      const setting = await enrolled(t);
      const { clock, certificates, first } = setting;
      await setting.away();
      clock.advance(length);
      await goOnUntil(clock, SECOND, () => isWithout(certificates));
      t.match(certificates.fault.value.error, /the certificate expired at /);
      t.match(certificates.fault.value.alarm, /^the certificate expired at /);
      await setting.back();
      const took = await goOnUntil(
        clock,
        SECOND,
        () => certificates.credentials.value !== undefined,
      );
      t.ok(took <= 30 * SECOND, `${what}: ${took / SECOND} s`);
      const next = certificates.credentials.value;
      t.equal(next?.id, first.id);
      t.not(next?.privateKey, first.privateKey);
      t.ok((next?.notAfter ?? 0) > clock.wall() + 23 * HOUR);
      t.same(certificates.fault.value, {});
    }
  },
);

void t.test(
  "so does the next process, which finds it on the disk",
  async (t) => {
    const setting = await enrolled(t);
    await setting.away();
    setting.clock.advance(5 * DAY);
    await setting.back();
    const certificates = await setting.restart();
    t.equal(certificates.credentials.value, undefined);
    const next = await eventually(
      certificates.credentials,
      (value) => value !== undefined,
    );
    t.equal(next?.id, setting.first.id);
  },
);

void t.test(
  "past what the mesh allows, it says what to do, and still tries on",
  async (t) => {
    const setting = await enrolled(t);
    const { clock, certificates } = setting;
    // Both asleep: a control plane that goes on would tick millions of times.
    clock.stall(32 * DAY);
    await goOnUntil(clock, SECOND, () =>
      /out of date by more than 720h.*wherry token create/.test(
        certificates.fault.value.error ?? "",
      ),
    );
    t.equal(certificates.credentials.value, undefined);
    await setting.mtls({ renewExpiredFor: "2160h" });
    await goOnUntil(
      clock,
      SECOND,
      () => certificates.credentials.value !== undefined,
    );
  },
);

void t.test("the renewal survives each failure", async (t) => {
  const rows: readonly (readonly [
    string,
    (setting: Enrolled, certificates: Certificates) => Promise<() => unknown>,
  ])[] = [
    [
      "nobody listens",
      async (setting) => {
        await setting.away();
        return () => setting.back();
      },
    ],
    [
      "another control plane is there",
      async (setting) => {
        await setting.away();
        const other = await startTestControlPlane(t, {
          port: setting.plane.port,
          authority: await openAuthority({
            directory: `${await temporaryDirectory(t)}/ca`,
            trustDomain: "cluster.local",
            clock: setting.clock,
          }),
          clock: setting.clock,
        });
        return async () => {
          await other.close();
          await setting.back();
        };
      },
    ],
    [
      "the control plane gives nothing",
      async (setting) => {
        await setting.mtls({ renewExpiredFor: "0s" });
        setting.ahead = 40 * DAY;
        return () => {
          setting.ahead = 0;
        };
      },
    ],
    [
      "a subscriber throws",
      async (_setting, certificates) => {
        const leave = certificates.issued.subscribe(() => {
          leave();
          throw new Error("a subscriber's own");
        });
        return Promise.resolve(() => undefined);
      },
    ],
  ];
  for (const [what, fail] of rows) {
    const setting = await enrolled(t);
    const { clock, certificates, first } = setting;
    const mend = await fail(setting, certificates);
    clock.advance(12 * HOUR);
    await goOnUntil(
      clock,
      SECOND,
      () => certificates.fault.value.error !== undefined,
    );
    await mend();
    await goOnUntil(
      clock,
      SECOND,
      () => (certificates.credentials.value?.notAfter ?? 0) > first.notAfter,
    );
    t.pass(what);
  }
});

void t.test("a disk that takes nothing stops no renewal", async (t) => {
  const setting = await enrolled(t);
  const { clock, path } = setting;
  const directory = await openStateDirectory(path);
  const certificates = await setting.restart({
    directory: {
      ...directory,
      path,
      read: (name) => directory.read(name),
      write: () => Promise.reject(new Error("no space left on device")),
    },
    rotateAt: () => {
      broken += 1;
      if (broken === 1) throw new Error("the config is gone");
      return 0.5;
    },
  });
  let broken = 0;
  for (let turn = 0; turn < 3; turn += 1) {
    const before = certificates.credentials.value;
    await settled();
    clock.advance(12 * HOUR);
    await goOnUntil(
      clock,
      SECOND,
      () => certificates.credentials.value !== before,
    );
    await settled();
    t.match(certificates.fault.value.error, /cannot be kept in .*no space/);
  }
});

function isWithout(certificates: Certificates): boolean {
  return (
    certificates.credentials.value === undefined &&
    /expired/.test(certificates.fault.value.error ?? "")
  );
}
