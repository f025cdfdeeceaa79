/** Enrolment over a store of the test's own, with the tokens for it. */
import {
  openAuthority,
  type Authority,
} from "../../../src/control-plane/authority/authority.ts";
import {
  createEnrolmentToken,
  type EnrolmentTokenOptions,
} from "../../../src/control-plane/enrolment/enrolment-token.ts";
import {
  Enrolment,
  type EnrolmentOptions,
} from "../../../src/control-plane/enrolment/enrolment.ts";
import {
  makeControlPlaneMeters,
  type SigningMeters,
} from "../../../src/control-plane/meters.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";
import { temporaryDirectory, type Scope } from "./push-control-plane.ts";

export interface Enrolling {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly authority: Authority;
  readonly enrolment: Enrolment;
  readonly signing: SigningMeters;
  readonly token: (
    options?: Partial<EnrolmentTokenOptions>,
  ) => Promise<{ id: string; text: string }>;
}

/** `options` replaces parts of an enrolment that refuses nobody's name or renewal. */
export async function startEnrolment(
  t: Scope,
  options: Partial<EnrolmentOptions> = {},
  open: (clock: FakeClock) => Store | Promise<Store> = (clock) =>
    openMemoryStore({ clock }),
): Promise<Enrolling> {
  const clock = fakeClock();
  const store = await open(clock);
  const meters = makeControlPlaneMeters(makeMetrics({ maxSeries: 100 }));
  const authority = await openAuthority({
    directory: await temporaryDirectory(t),
    trustDomain: "cluster.local",
    clock,
  });
  return {
    clock,
    store,
    authority,
    signing: meters.signing,
    enrolment: new Enrolment({
      nameFault: () => Promise.resolve(undefined),
      untimelyFault: () => Promise.resolve(undefined),
      shown: { isSuperseded: () => false, issued: () => undefined },
      store,
      issuer: authority,
      meters: meters.signing,
      trustDomain: "cluster.local",
      clock,
      logger: silentLogger,
      ...options,
    }),
    token: (options = {}) =>
      createEnrolmentToken(store, clock, {
        namespace: "shop",
        serviceAccount: "web",
        labels: { app: "web" },
        ttl: 60_000,
        uses: 3,
        ca: authority.fingerprint,
        ...options,
      }),
  };
}

/** A signing request for a new key. */
export const csr = (): string => createCsr(generatePrivateKey());
export const REMOTE = "10.0.0.7";
