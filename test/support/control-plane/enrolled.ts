/** For tests: a sidecar's certificates on a fake clock, and a control plane that may go, come back, and have another time. */
import {
  startCertificates,
  type Certificates,
  type CertificatesOptions,
} from "../../../src/agent/enrolment/certificates.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import {
  fakeClock,
  shiftedClock,
  type FakeClock,
} from "../clocks/fake-clock.ts";
import {
  eventually,
  MESH,
  startTestControlPlane,
  temporaryDirectory,
  until,
  type Scope,
  type TestControlPlane,
} from "./push-control-plane.ts";

export const HOUR = 3_600_000;
export const DAY: number = 24 * HOUR;

export interface Enrolled {
  readonly clock: FakeClock;
  /** Milliseconds that the control plane's clock is ahead. */
  ahead: number;
  readonly store: Store;
  readonly path: string;
  readonly plane: TestControlPlane;
  readonly certificates: Certificates;
  /** The first certificate. */
  readonly first: Credentials;
  /** Ends the control plane; what it holds stays. */
  away(): Promise<void>;
  /** Starts it again, where it was. */
  back(): Promise<void>;
  /** As the sidecar's next process, without a token. */
  restart(options?: Partial<CertificatesOptions>): Promise<Certificates>;
  /** Sets `mtls` of the Mesh. */
  mtls(spec: Readonly<Record<string, unknown>>): Promise<void>;
}

/** An instance web-1 that enrolled with a token, which is gone. */
export async function enrolled(t: Scope): Promise<Enrolled> {
  const clock = fakeClock();
  const path = await temporaryDirectory(t);
  const state = { ahead: 0 };
  const planeClock = shiftedClock(clock, () => state.ahead);
  let plane = await startTestControlPlane(t, { clock: planeClock });
  const { store, authority, port, address } = plane;
  const mtls: Enrolled["mtls"] = async (spec) => {
    const mesh = { authorization: { defaultAction: "ALLOW" }, mtls: spec };
    await store.put({ ...MESH, spec: mesh }, undefined);
  };
  await mtls({});
  const start = async (
    options: Partial<CertificatesOptions> = {},
  ): Promise<Certificates> => {
    const certificates = await startCertificates({
      address,
      token: undefined,
      name: "web-1",
      directory: await openStateDirectory(path),
      rotateAt: () => 0.5,
      clock,
      logger: silentLogger,
      ...options,
    });
    t.after(() => certificates.close());
    return certificates;
  };
  const enrolling = await start({ token: await plane.token() });
  await eventually(enrolling.credentials, (value) => value !== undefined);
  await enrolling.close();
  let certificates = await start();
  const first = certificates.credentials.value;
  if (first === undefined) throw new Error("no certificate on the disk");
  return {
    clock,
    store,
    path,
    first,
    mtls,
    get ahead() {
      return state.ahead;
    },
    set ahead(ms) {
      state.ahead = ms;
    },
    get plane() {
      return plane;
    },
    get certificates() {
      return certificates;
    },
    async away() {
      await plane.close();
    },
    async back() {
      plane = await startTestControlPlane(t, {
        ...{ store, authority, port },
        clock: planeClock,
      });
    },
    async restart(options) {
      await certificates.close();
      certificates = await start(options);
      return certificates;
    },
  };
}

/** Moves the clock on, a step at a time and with time for the network between two, until the condition holds. Returns how far. */
export async function goOnUntil(
  clock: FakeClock,
  step: number,
  condition: () => boolean,
): Promise<number> {
  const began = clock.now();
  await until(() => {
    if (condition()) return true;
    clock.advance(step);
    return false;
  });
  return clock.now() - began;
}

/** Lets what is under way in this process settle. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}
