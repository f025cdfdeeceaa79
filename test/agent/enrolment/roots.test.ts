import { readFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Agent } from "../../../src/agent/agent.ts";
import { openClient } from "../../../src/agent/connection.ts";
import { startCertificates } from "../../../src/agent/enrolment/certificates.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { openAuthority } from "../../../src/control-plane/authority/authority.ts";
import { RotationRunner } from "../../../src/control-plane/trust/rotation-runner.ts";
import type { Trust } from "../../../src/control-plane/trust/trust.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { rootAbove } from "../../../src/identity/chain.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import type { SignedBundle } from "../../../src/identity/trust-bundle.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  eventually,
  serving,
  startTestAgent,
  startTestControlPlane,
  startWithOrders,
  temporaryDirectory,
  until,
  type Scope,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";

function trustOf({ rotating }: TestControlPlane): Trust {
  if (rotating === undefined) throw new Error("its roots are never rotated");
  return rotating;
}

function run(t: Scope, plane: TestControlPlane): RotationRunner {
  const { push, registry } = plane;
  const runner = new RotationRunner({
    ...{ trust: trustOf(plane), push, registry },
    linger: 0,
    clock: systemClock,
    logger: silentLogger,
  });
  t.after(() => runner.close());
  return runner;
}

function rootsIn(credentials: Credentials | undefined): readonly string[] {
  return readCertificates(credentials?.trustBundle ?? "", "roots").map(
    fingerprintOf,
  );
}

function rootOf(agent: Agent): string | undefined {
  const { value } = agent.credentials;
  if (value === undefined) return undefined;
  const root = rootAbove(
    readCertificates(value.certificateChain, "chain"),
    readCertificates(value.trustBundle, "roots"),
  );
  return root && fingerprintOf(root);
}

void t.test(
  "a rotation: the stream brings the roots, the certificate follows, and one that is held back is named",
  async (t) => {
    const plane = await startWithOrders(t);
    const trust = trustOf(plane);
    const runner = run(t, plane);
    const stateDirectory = await temporaryDirectory(t);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      stateDirectory,
    });
    await serving(agent);
    const old = trust.fingerprint;
    t.same(rootsIn(agent.credentials.value), [old]);
    const generation = agent.credentials.value?.generation;

    await trust.begin();
    const to = trust.rotation?.to ?? "";
    await eventually(
      agent.credentials,
      (credentials) => rootsIn(credentials).length === 2,
    );
    t.equal(agent.credentials.value?.generation, generation, "no link ends");
    await until(async () => (await runner.view()).behind.length === 0);
    t.match(
      JSON.parse(
        await readFile(join(stateDirectory, "credentials.json"), "utf8"),
      ),
      { content: { bundle: { serial: trust.offer.value.serial } } },
      "what is acknowledged is on the disk",
    );
    t.equal(rootOf(agent), old);

    await runner.begin();
    await until(() => trust.last?.to === to);
    t.equal(rootOf(agent), to);
    t.same(rootsIn(agent.credentials.value), [to]);
    await until(async () =>
      (await plane.push.status()).some(
        ({ connected, trust: { root } }) => connected && root === to,
      ),
    );
  },
);

void t.test("a certificate of the retired root opens nothing", async (t) => {
  const plane = await startWithOrders(t);
  const trust = trustOf(plane);
  const agent = await startTestAgent(t, {
    controlPlane: plane.address,
    token: await plane.token(),
    name: "web-1",
  });
  await serving(agent);
  const before = agent.credentials.value;
  await agent.close();
  await trust.begin();
  await trust.reissue(0);
  await trust.retire();
  if (before === undefined) throw new Error("it had none");
  const client = openClient({
    address: plane.address,
    credentials: before,
    trustBundle: before.trustBundle,
    maxMessageBytes: 1000,
    clock: systemClock,
  });
  t.after(() => client.close());
  const failure = await new Promise<Error | undefined>((resolve) =>
    client.waitForReady(Date.now() + 1000, resolve),
  );
  t.match(failure, /Failed to connect/, "nor does it take the control plane");
});

void t.test(
  "tokens work until the root is retired, and those of a rotation after that",
  async (t) => {
    const plane = await startTestControlPlane(t);
    const trust = trustOf(plane);
    const old = await plane.token();
    await trust.begin();
    const next = trust.nextFingerprint ?? "";
    const both = await plane.token({ ca: trust.fingerprint, next });
    await trust.reissue(0);
    const start = (token: string, name: string): Promise<Agent> =>
      startTestAgent(t, { controlPlane: plane.address, token, name });
    for (const [token, name] of [
      [old, "a"],
      [both, "b"],
    ] as const)
      await serving(await start(token, name));
    await trust.retire();
    await serving(await start(both, "c"));
    const late = await start(old, "d");
    const { lastError } = await eventually(
      late.state,
      ({ lastError }) => lastError !== undefined,
    );
    t.match(lastError, /has the fingerprint that the token carries/);
  },
);

void t.test(
  "roots that come while a certificate is renewed are kept",
  async (t) => {
    const directory = join(await temporaryDirectory(t), "authority");
    const clock = fakeClock({ wall: Date.now() - 3_600_000 });
    const plane = await startTestControlPlane(t, { directory, clock });
    let hold = Promise.resolve();
    let came = (): void => undefined;
    const relay = createServer((socket) => {
      const upstream = connect(plane.port, "127.0.0.1");
      upstream.on("error", () => socket.destroy());
      socket.on("error", () => upstream.destroy());
      socket.on("close", () => upstream.destroy());
      socket.pause();
      came();
      void hold.then(() => socket.pipe(upstream).pipe(socket));
    });
    await new Promise<void>((resolve) => {
      relay.listen(0, "127.0.0.1", resolve);
    });
    t.after(() => relay.close());
    const certificates = await startCertificates({
      address: `127.0.0.1:${(relay.address() as AddressInfo).port}`,
      token: await plane.token(),
      name: "web-1",
      directory: await openStateDirectory(await temporaryDirectory(t)),
      rotateAt: () => 0.5,
      clock,
      logger: silentLogger,
    });
    t.after(() => certificates.close());
    const first = await eventually(
      certificates.credentials,
      (value) => value !== undefined,
    );
    const { serial } = trustOf(plane).offer.value;
    const options = { directory, trustDomain: "cluster.local" };
    const authority = await openAuthority({ ...options, clock });
    const newer = (roots: string, later: number): SignedBundle =>
      authority.signBundle({
        ...{ trustDomain: "cluster.local", serial: serial + later, roots },
        ...{ issuer: authority.fingerprint, renewWithin: 0 },
      });
    const other = fakeAuthority().bundle;

    let go = (): void => undefined;
    hold = new Promise((resolve) => {
      go = resolve;
    });
    let isAsked = false;
    came = () => {
      isAsked = true;
    };
    certificates.lookAgain();
    await until(() => {
      if (!isAsked) clock.advance(1000);
      return isAsked;
    });
    const both = authority.trustBundle + other;
    t.equal(await certificates.trust(newer(both, 1)), undefined);
    go();
    const second = await eventually(
      certificates.credentials,
      (value) => value?.generation !== first?.generation,
    );
    t.equal(second?.trustBundle, both);
    t.equal(second?.bundle?.serial, serial + 1);
    t.not(second?.privateKey, first?.privateKey);
  },
);
