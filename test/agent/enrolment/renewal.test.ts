/** Certificates are renewed by what was left of them when they came: at half of it or a little earlier, never in a loop, never too late. */
import t from "tap";
import {
  isNearEnd,
  renewalTime,
} from "../../../src/agent/enrolment/renewal.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  eventually,
  MESH,
  startTestAgent,
  startTestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";

const SECOND = 1000;
const DAY = 86_400_000;
const WALL = Date.UTC(2026, 0, 1);
const mesh = fakeAuthority({ now: WALL });
/** As the authority gives it: its notBefore is a minute ago. */
const living = (ms: number): Credentials => ({
  ...mesh.credentials("web"),
  notBefore: WALL - 60 * SECOND,
  notAfter: WALL + ms,
});

void t.test("when a certificate is renewed", (t) => {
  const rows: readonly (readonly [
    what: string,
    life: number,
    share: number,
    since: number,
    earliest: number,
    latest: number,
  ])[] = [
    ["a day", DAY, 0.5, WALL, 0.45 * DAY, 0.5 * DAY],
    ["a minute", 60 * SECOND, 0.5, WALL, 27 * SECOND, 30 * SECOND],
    ["a minute, late", 60 * SECOND, 0.9, WALL, 48 * SECOND, 54 * SECOND],
    ["a minute, early", 60 * SECOND, 0.01, WALL, 5 * SECOND, 5 * SECOND],
    ["six seconds", 6 * SECOND, 0.5, WALL, 3 * SECOND, 3 * SECOND],
    ["a second", SECOND, 0.5, WALL, SECOND, SECOND],
    [
      "from the disk, half spent",
      DAY,
      0.5,
      WALL - DAY,
      5 * SECOND,
      10 * SECOND,
    ],
    [
      "from the disk, nearly new",
      DAY,
      0.5,
      WALL - 60 * SECOND,
      0.44 * DAY,
      0.5 * DAY,
    ],
  ];
  for (const [what, life, share, since, earliest, latest] of rows)
    for (const random of [0, 0.5, 0.999]) {
      const clock = fakeClock({ wall: WALL, random: () => random });
      const wait =
        renewalTime({ credentials: living(life), since }, share, clock) - WALL;
      t.ok(
        wait >= earliest - 1 && wait <= latest + 1,
        `${what}: after ${wait / SECOND} s`,
      );
    }
  t.end();
});

void t.test("a quarter of the life as it came is the end of it", (t) => {
  const held = { credentials: living(60 * SECOND), since: WALL };
  t.notOk(isNearEnd(held, 16 * SECOND));
  t.ok(isNearEnd(held, 15 * SECOND));
  t.ok(isNearEnd(held, -1 * SECOND));
  t.end();
});

void t.test(
  "the first renewal, too, is by the share that the Mesh says, which comes after the certificate",
  async (t) => {
    // OpenSSL goes by the system's time.
    const clock = fakeClock({ wall: Date.now() - 0.2 * DAY });
    const plane = await startTestControlPlane(t, { clock });
    const spec = {
      authorization: { defaultAction: "ALLOW" },
      mtls: { certificateTTL: "24h", rotateAt: 0.1 },
    };
    await plane.store.put({ ...MESH, spec }, "absent");
    const agent = await startTestAgent(t, {
      ...{ controlPlane: plane.address, token: await plane.token(), clock },
    });
    await eventually(
      agent.snapshot,
      (value) => value?.mesh.mtls.rotateAt === 0.1,
    );
    const first = agent.credentials.value;
    clock.advance(0.08 * DAY);
    t.equal(agent.credentials.value, first);
    clock.advance(0.03 * DAY);
    const second = await eventually(
      agent.credentials,
      (value) => value !== first,
    );
    t.not(second?.privateKey, first?.privateKey);
  },
);
