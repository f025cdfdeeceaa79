/** A revoked instance at the control plane: its stream ends, what it registered goes, and it gets no certificate until that is undone. */
import { once } from "node:events";
import { connect } from "node:tls";
import t, { type Test } from "tap";
import { CallError, openClient } from "../../../src/agent/connection.ts";
import { enrol, renew } from "../../../src/agent/enrolment/enrol.ts";
import type { Agent } from "../../../src/agent/agent.ts";
import {
  openRevocations,
  revocationOfDeleted,
  type Revocations,
} from "../../../src/control-plane/enrolment/revocations.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import { normalSerial, Revoked } from "../../../src/identity/revoked.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  LONGEST_RENEWAL,
  LONGEST_TTL,
} from "../../../src/resources/mesh/check.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  eventually,
  MESH,
  serving,
  startTestAgent,
  startTestControlPlane,
  until,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import { SPEC } from "../../support/control-plane/registry.ts";
import { systemClock } from "../../../src/core/clock.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const WORKLOAD = { kind: "Workload", namespace: "shop", name: "web-1" };
const clock = systemClock;
const signal = new AbortController().signal;

function revocation(
  spec: Readonly<Record<string, unknown>>,
  name = "stolen",
): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Revocation",
    metadata: { name },
    spec,
  };
}

interface Bed {
  readonly plane: TestControlPlane;
  readonly agent: Agent;
}

/** web-1, which has registered. */
async function bed(t: Test): Promise<Bed> {
  const plane = await startTestControlPlane(t);
  const agent = await startTestAgent(t, {
    controlPlane: plane.address,
    token: await plane.token(),
    name: "web-1",
    workload: () => SPEC,
  });
  await agent.setReady(true);
  await until(async () => (await plane.store.get(WORKLOAD)) !== undefined);
  return { plane, agent };
}

/** The words of the refusal; "issued" where there is none. */
async function said(issue: Promise<unknown>): Promise<string> {
  try {
    await issue;
    return "issued";
  } catch (thrown) {
    if (!(thrown instanceof CallError)) throw thrown;
    return thrown.message;
  }
}

function renewed({ plane, agent }: Bed): Promise<string> {
  const { address } = plane;
  const credentials = agent.credentials.value;
  if (credentials === undefined) throw new Error("no credentials");
  return said(renew({ address, credentials, clock, signal }));
}

async function enrolledAs({ plane }: Bed, name: string): Promise<string> {
  const { address } = plane;
  const token = await plane.token();
  return said(enrol({ address, token, name, clock, signal }));
}

void t.test("by instance, identity and serial number", async (t) => {
  const rows: readonly (readonly [
    string,
    (serial: string) => Readonly<Record<string, unknown>>,
    { readonly same: RegExp; readonly other: RegExp },
  ])[] = [
    [
      "instance",
      () => ({ instance: "shop/web-1" }),
      { same: /the instance shop\/web-1 is revoked/, other: /^issued$/ },
    ],
    [
      "identity",
      () => ({ identity: WEB }),
      {
        same: /the identity .* is revoked/,
        other: /the identity .* is revoked/,
      },
    ],
    [
      "serial number",
      (serial) => ({ serial }),
      // Another certificate of the same instance stands.
      { same: /^issued$/, other: /^issued$/ },
    ],
  ];
  for (const [what, specOf, { same, other }] of rows) {
    const scene = await bed(t);
    const { plane, agent } = scene;
    const [status] = await plane.push.status();
    const serial = status?.certificateSerial ?? "";
    t.not(serial, "", what);
    await plane.store.put(revocation(specOf(serial)), undefined);
    await eventually(
      agent.state,
      ({ connected, lastError }) =>
        !connected && lastError?.includes("is revoked") === true,
    );
    await until(async () => (await plane.store.get(WORKLOAD)) === undefined);
    t.match(await renewed(scene), /is revoked/, `${what}: renewal`);
    t.match(await enrolledAs(scene, "web-1"), same, `${what}: the same name`);
    t.match(await enrolledAs(scene, "web-2"), other, `${what}: another name`);
    await plane.store.remove({
      kind: "Revocation",
      namespace: "",
      name: "stolen",
    });
    await eventually(agent.state, ({ connected }) => connected);
    t.equal(await renewed(scene), "issued", `${what}: undone`);
  }
});

void t.test("another instance is not touched", async (t) => {
  const { plane, agent } = await bed(t);
  await plane.store.put(revocation({ instance: "shop/web-2" }), undefined);
  const { revision } = (await plane.push.status())[0]?.acknowledged ?? {
    revision: 0,
  };
  await until(
    async () =>
      ((await plane.push.status())[0]?.acknowledged?.revision ?? 0) > revision,
  );
  t.equal(agent.state.value.connected, true);
  t.not(await plane.store.get(WORKLOAD), undefined);
});

void t.test(
  "a sidecar that asks for some Services alone holds what was revoked before it came",
  async (t) => {
    const store = openMemoryStore({ clock });
    await store.put(revocation({ instance: "shop/thief" }), undefined);
    const plane = await startTestControlPlane(t, { store });
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
      interest: { services: ["shop/orders"], hosts: [] },
    });
    await serving(agent);
    t.equal(agent.snapshot.value?.revoked.size, 1);
    const { authority, port } = plane;
    await plane.close();
    await eventually(agent.state, ({ connected }) => !connected);
    const again = await startTestControlPlane(t, { store, authority, port });
    await until(
      async () => (await again.push.status())[0]?.acknowledged !== undefined,
    );
    t.equal(agent.snapshot.value?.revoked.size, 1, "after a reconnect, too");
  },
);

/** The serial number of the certificate that the control plane shows. */
async function serialShown({ port }: TestControlPlane): Promise<string> {
  const socket = connect({ port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const serial = socket.getPeerX509Certificate()?.serialNumber ?? "";
  socket.destroy();
  return serial;
}

void t.test("a certificate of the control plane", async (t) => {
  const { plane, agent } = await bed(t);
  const serial = await serialShown(plane);
  let ended = 0;
  agent.state.subscribe(({ connected }) => {
    if (!connected) ended += 1;
  });
  await plane.store.put(revocation({ serial }), undefined);
  await until(() => ended > 0);
  await eventually(agent.state, ({ connected }) => connected);
  t.not(await serialShown(plane), serial, "it shows another one");
  t.not(await plane.store.get(WORKLOAD), undefined, "nobody's Workload goes");
});

void t.test("a control plane whose certificate stays revoked", async (t) => {
  const { plane, agent } = await bed(t);
  const credentials = agent.credentials.value;
  if (credentials === undefined) throw new Error("no credentials");
  const { address } = plane;
  const serial = normalSerial(await serialShown(plane));
  const rows = [
    ["it is revoked", new Revoked([{ name: "a", serial }]), /is revoked by/],
    ["another one", new Revoked([{ name: "a", serial: "1" }]), /^$/],
  ] as const;
  for (const [what, revoked, expected] of rows) {
    const own = { address, revoked: () => revoked, clock };
    const asked = { token: await plane.token(), name: "web-2" };
    const client = openClient({
      ...{ ...own, credentials, trustBundle: credentials.trustBundle },
      maxMessageBytes: 1_000_000,
    });
    t.after(() => client.close());
    const failure = await new Promise<Error | undefined>((resolve) =>
      client.waitForReady(Date.now() + 1000, resolve),
    );
    t.equal(failure === undefined, expected.test(""), what);
    const outcomes = [
      renew({ ...own, credentials, signal }),
      enrol({ ...own, ...asked, signal }),
    ];
    for (const outcome of outcomes)
      t.match((await said(outcome)).replace("issued", ""), expected, what);
  }
});

void t.test("what a person takes away is put out up to now", async (t) => {
  const scene = await bed(t);
  const { plane, agent } = scene;
  const workload = await plane.store.get(WORKLOAD);
  if (workload === undefined) throw new Error("it has not registered");
  const { push } = plane;
  const resource = revocationOfDeleted(workload, clock, push);
  if (resource === undefined) throw new Error("it is nobody's");
  t.equal(
    revocationOfDeleted({ ...workload, metadata: { name: "x" } }, clock, push),
    undefined,
    "nobody's",
  );
  await plane.store.put(resource, undefined);
  await until(async () => (await plane.store.get(WORKLOAD)) === undefined);
  await eventually(agent.state, ({ connected }) => !connected);
  t.match(await renewed(scene), /is revoked/);
  // The begin of a certificate is in whole seconds.
  await until(async () => (await enrolledAs(scene, "web-1")) === "issued");
});

void t.test("also a certificate of a clock that was ahead", async (t) => {
  const ahead = 7_200_000;
  const scene = await bed(t);
  const { plane, agent } = scene;
  const workload = await plane.store.get(WORKLOAD);
  if (workload === undefined) throw new Error("it has not registered");
  // As the control plane's clock is once it is set back.
  const back = { wall: () => clock.wall() - ahead };
  const resource = revocationOfDeleted(workload, back, plane.push);
  if (resource === undefined) throw new Error("it is nobody's");
  await plane.store.put(resource, undefined);
  await eventually(agent.state, ({ connected }) => !connected);
  t.match(await renewed(scene), /is revoked/);
});

interface Followed {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly revocations: Revocations;
  /** The names of those that there are, once what is due has been done. */
  readonly left: () => Promise<string>;
}

async function followed(
  t: Test,
  ...resources: readonly Resource[]
): Promise<Followed> {
  const clock = fakeClock({ wall: Date.parse("2026-01-01T00:00:00Z") });
  const store = openMemoryStore({ clock });
  for (const resource of resources) await store.put(resource, undefined);
  const revocations = await openRevocations({
    store,
    clock,
    logger: silentLogger,
  });
  t.after(() => revocations.close());
  return {
    ...{ clock, store, revocations },
    async left() {
      for (let turn = 0; turn < 5; turn += 1) await nextTurn();
      const { resources } = await store.list("Revocation");
      return resources.map(({ metadata }) => metadata.name).join();
    },
  };
}

void t.test("a clock that jumps ends none", async (t) => {
  const until = "2026-01-01T00:10:00Z";
  const { clock, revocations, left } = await followed(
    t,
    revocation({ instance: "shop/a", until }, "a"),
    revocation({ instance: "shop/b" }, "b"),
  );
  clock.jump(LONGEST_TTL + LONGEST_RENEWAL + 3_600_000);
  clock.advance(60_000);
  t.equal(await left(), "a,b");
  const proof = { uri: undefined, instance: "shop/a", certificate: undefined };
  t.match(revocations.faultOf(proof), /is revoked/);
  clock.advance(540_000);
  t.equal(await left(), "b", "it is over by either clock");
  t.equal(revocations.faultOf(proof), undefined);
});

void t.test("a clock that was ahead at the start ends none", async (t) => {
  const made = Date.parse("2026-01-01T00:00:00Z");
  const clock = fakeClock({ wall: made });
  const options = { store: openMemoryStore({ clock }), clock };
  const { store } = options;
  const until = "2026-01-08T00:00:00Z";
  await store.put(revocation({ instance: "shop/a", until }, "a"), undefined);
  await store.put(revocation({ instance: "shop/b" }, "b"), undefined);
  const opened = async (): Promise<Revocations> => {
    const revocations = await openRevocations({
      ...{ ...options, logger: silentLogger },
    });
    t.after(() => revocations.close());
    return revocations;
  };
  const ahead = 2 * (LONGEST_TTL + LONGEST_RENEWAL);
  clock.jump(ahead);
  const first = await opened();
  clock.advance(59 * 60_000);
  clock.jump(-ahead);
  clock.advance(60_000);
  await first.close();
  const revocations = await opened();
  for (const instance of ["shop/a", "shop/b"])
    t.match(
      revocations.faultOf({ uri: undefined, instance, certificate: undefined }),
      /is revoked/,
      instance,
    );
  clock.jump(ahead);
  await revocations.close();
  await opened();
  clock.advance(3_600_000);
  for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  const { resources } = await store.list("Revocation");
  t.same(resources, [], "they go where it was right");
});

void t.test("an identity is that of every alias", async (t) => {
  const mesh = (trustDomainAliases: readonly string[]): Resource => ({
    ...MESH,
    spec: {
      trustDomain: "cluster.local",
      trustDomainAliases,
      authorization: { defaultAction: "ALLOW" },
    },
  });
  const { store, revocations, left } = await followed(
    t,
    mesh(["old.example"]),
    revocation({ identity: WEB.replace("cluster.local", "old.example") }),
  );
  const proof = { uri: WEB, instance: undefined, certificate: undefined };
  t.match(revocations.faultOf(proof), /the identity .* is revoked/);
  await store.put(mesh([]), undefined);
  await left();
  t.equal(revocations.faultOf(proof), undefined, "it is an alias no longer");
  await store.put(mesh(["old.example"]), undefined);
  await left();
  t.match(revocations.faultOf(proof), /the identity .* is revoked/);
});

void t.test("what one write brings is told together", async (t) => {
  const { store, revocations, left } = await followed(t);
  let told = 0;
  revocations.revoked.subscribe(() => (told += 1));
  await store.transact(
    Array.from({ length: 50 }, (_, index) => ({
      resource: revocation({ instance: `shop/web-${index}` }, `r${index}`),
      expected: undefined,
    })),
  );
  await left();
  t.equal(revocations.revoked.value.size, 50);
  t.equal(told, 1);
});

void t.test("it ends when it is over, and no sooner", async (t) => {
  const until = "2026-01-01T00:10:00Z";
  const { clock, revocations, left } = await followed(
    t,
    revocation({ instance: "shop/a", until }, "a"),
    revocation({ instance: "shop/b" }, "b"),
    // As a Workload that is deleted a second time, an hour later than the first.
    revocation({ instance: "shop/c", beginsUpTo: "2026-01-01T00:00:00Z" }, "c"),
  );
  clock.advance(9 * 60_000);
  t.equal(await left(), "a,b,c");
  clock.advance(60_000);
  t.equal(await left(), "b,c");
  t.equal(revocations.revoked.value.size, 2);
  clock.advance(LONGEST_TTL + LONGEST_RENEWAL - 11 * 60_000);
  t.equal(await left(), "b,c");
  clock.advance(60_000);
  t.equal(await left(), "c");
  clock.advance(59 * 60_000);
  t.equal(await left(), "c");
  clock.advance(60_000);
  t.equal(await left(), "");
});
