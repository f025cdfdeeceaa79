/** No clock that jumps, here or at the control plane, takes a certificate away that somebody would take; and nobody else profits. */
import t from "tap";
import { chooseInUse } from "../../../src/agent/enrolment/in-use.ts";
import { renew } from "../../../src/agent/enrolment/enrol.ts";
import { openAuthority } from "../../../src/control-plane/authority/authority.ts";
import {
  Enrolment,
  type Issuer,
} from "../../../src/control-plane/enrolment/enrolment.ts";
import { startPushServer } from "../../../src/control-plane/push/server.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { watchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { timesOf, validFor } from "../../../src/identity/trust.ts";
import {
  enrolled,
  goOnUntil,
  HOUR,
  settled,
} from "../../support/control-plane/enrolled.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  startBehind,
  temporaryDirectory,
} from "../../support/control-plane/push-control-plane.ts";

const SECOND = 1000;
const WALL = Date.UTC(2026, 0, 1);
const mesh = fakeAuthority({ now: WALL });

void t.test("which of two certificates peers are shown", (t) => {
  const make = (from: number, to: number, time = 0): Credentials => ({
    ...mesh.credentials("web"),
    notBefore: WALL + from * HOUR,
    notAfter: WALL + to * HOUR,
    meshTime: { wall: WALL + time * HOUR, at: 0 },
  });
  const old = make(-12, 12);
  const rows: readonly (readonly [
    what: string,
    present: Credentials | undefined,
    newest: Credentials,
    shown: "present" | "newest" | undefined,
    until: number,
  ])[] = [
    ["the only one", undefined, old, "newest", 12],
    ["the same", old, old, "newest", 12],
    ["both are valid", old, make(-1, 24), "newest", 24],
    ["not valid yet", old, make(24, 48, 25), "present", 12],
    ["not valid yet, for a moment", old, make(0.5, 24, 1), "present", 0.5],
    ["already ended", old, make(-26, -1, -25), "present", 12],
    ["the old one has ended", make(-36, -12), make(24, 48, 25), "newest", 23],
    [
      "neither is valid by any clock",
      make(-36, -12),
      make(24, 48),
      undefined,
      24,
    ],
    ["the only one has ended", undefined, make(-36, -12), undefined, Infinity],
  ];
  for (const [what, present, newest, shown, until] of rows) {
    const clock = fakeClock({ wall: WALL });
    const chosen = chooseInUse(present, newest, clock);
    const wanted =
      shown === undefined
        ? undefined
        : (shown === "newest" ? newest : present)?.generation;
    t.equal(chosen.credentials?.generation, wanted, what);
    t.equal(chosen.until, until * HOUR, `${what}, until`);
    t.equal(
      chosen.credentials?.meshTime,
      shown === undefined ? undefined : newest.meshTime,
      "the mesh's time is the newest's",
    );
  }
  t.end();
});

void t.test(
  "a control plane that is ahead gives a certificate that waits for its time",
  async (t) => {
    for (const ahead of [100 * SECOND, 2 * HOUR, 25 * HOUR]) {
      const setting = await enrolled(t);
      const { clock, certificates, first } = setting;
      setting.ahead = ahead;
      await settled();
      clock.advance(12 * HOUR);
      await goOnUntil(
        clock,
        SECOND,
        () => certificates.issued.value?.generation !== first.generation,
      );
      const issued = certificates.issued.value;
      const waits = (issued?.notBefore ?? 0) > clock.wall();
      t.equal(waits, ahead > HOUR, "an hour is what the authority sets back");
      t.equal(
        certificates.credentials.value?.generation,
        waits ? first.generation : issued?.generation,
      );
      t.same(
        certificates.credentials.value?.meshTime,
        issued?.meshTime,
        "what time it is there is known at once",
      );
      await settled();
      const next = await setting.restart();
      t.equal(
        next.credentials.value?.certificateChain,
        (waits ? first : issued)?.certificateChain,
        "nor does a restart take it away",
      );
      if (waits) {
        clock.advance(Math.min(ahead - HOUR, 12 * HOUR));
        await goOnUntil(
          clock,
          SECOND,
          () => next.credentials.value !== undefined,
        );
        t.not(
          next.credentials.value?.certificateChain,
          first.certificateChain,
          "its time has come, or the end of the one before",
        );
      }
    }
  },
);

void t.test(
  "a control plane that is behind takes no valid certificate away",
  async (t) => {
    const setting = await enrolled(t);
    const { clock, certificates, first } = setting;
    setting.ahead = -25 * HOUR;
    await settled();
    clock.advance(12 * HOUR);
    await goOnUntil(
      clock,
      SECOND,
      () => certificates.issued.value?.generation !== first.generation,
    );
    const issued = certificates.issued.value;
    t.ok((issued?.notAfter ?? Infinity) < clock.wall(), "useless to its peers");
    t.equal(
      certificates.credentials.value?.generation,
      first.generation,
      "whom the one before serves until its end",
    );
  },
);

void t.test(
  "this machine's clock may jump as far as it likes, and a renewal follows at once",
  async (t) => {
    for (const jump of [100 * SECOND, 600 * SECOND, 25 * HOUR])
      for (const ms of [jump, -jump]) {
        const setting = await enrolled(t);
        const { clock, certificates, first } = setting;
        const shown: (number | undefined)[] = [];
        certificates.credentials.subscribe((value) =>
          shown.push(value?.generation),
        );
        await settled();
        // The control plane's is right.
        setting.ahead = -ms;
        clock.jump(ms);
        certificates.lookAgain();
        await goOnUntil(
          clock,
          SECOND,
          () => certificates.issued.value?.generation !== first.generation,
        );
        const next = certificates.credentials.value;
        t.notOk(shown.includes(undefined), `never without, ${ms / SECOND} s`);
        t.ok(next !== undefined);
        t.ok(
          next !== undefined &&
            validFor(next, timesOf(next.meshTime, clock)) > 11 * HOUR,
        );
      }
  },
);

void t.test(
  "a restarted control plane whose clock is wrong is followed; who has no key of the authority is not",
  async (t) => {
    for (const ahead of [25 * HOUR, -25 * HOUR]) {
      const setting = await enrolled(t);
      const { clock, first, plane } = setting;
      await setting.away();
      setting.ahead = ahead;
      await setting.back();
      const options = {
        address: plane.address,
        credentials: first,
        clock,
        signal: new AbortController().signal,
      };
      const next = await renew(options);
      t.equal(next.id, first.id);
      const [, then = 0] = timesOf(next.meshTime, clock);
      t.ok(
        Math.abs(then - clock.wall() - ahead) < 60 * SECOND,
        "it has said what time it is there",
      );
      t.equal(next.trustBundle, first.trustBundle);
    }
  },
);

void t.test(
  "a stolen key of the control plane that has ended gives no certificate, no roots and no time",
  async (t) => {
    const setting = await enrolled(t);
    const { clock, first, plane } = setting;
    const stolen = plane.authority.own(CONTROL_PLANE);
    const foreign = await openAuthority({
      directory: `${await temporaryDirectory(t)}/ca`,
      trustDomain: "cluster.local",
      clock,
    });
    clock.advance(25 * HOUR);
    const rows: readonly (readonly [RegExp, Issuer])[] = [
      [/signed by none of the trusted roots/, foreign],
      [
        /not the control plane.* for another instance/,
        {
          trustBundle: foreign.trustBundle,
          // As whoever has a token of the same account could have it signed.
          sign: (csr, subject, signal) =>
            plane.authority.sign(
              csr,
              { ...subject, labels: { app: "admin" } },
              signal,
            ),
        },
      ],
    ];
    for (const [message, issuer] of rows) {
      let asked = 0;
      const behind = await startBehind(t, { clock });
      const impostor = await startPushServer({
        ...behind,
        enrolment: new Enrolment({
          store: behind.store,
          issuer: {
            trustBundle: issuer.trustBundle,
            sign: (csr, subject, signal) => {
              asked += 1;
              return issuer.sign(csr, subject, signal);
            },
          },
          nameFault: () => Promise.resolve(undefined),
          untimelyFault: () => Promise.resolve(undefined),
          shown: behind.shown,
          meters: behind.meters.signing,
          trustDomain: "cluster.local",
          clock,
          logger: silentLogger,
        }),
        credentials: watchSource(stolen),
        meters: behind.meters.push,
        trustDomains: ["cluster.local"],
        host: "127.0.0.1",
        port: 0,
      });
      t.teardown(async () => {
        await impostor.close();
        await behind.close();
      });
      await t.rejects(
        renew({
          address: `127.0.0.1:${impostor.port}`,
          credentials: first,
          clock,
          signal: new AbortController().signal,
        }),
        { message },
      );
      t.equal(asked, 1);
    }
  },
);

const CONTROL_PLANE =
  "spiffe://cluster.local/ns/wherry-system/sa/control-plane";
