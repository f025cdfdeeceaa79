import { status } from "@grpc/grpc-js";
import t from "tap";
import type { PushServer } from "../../../src/control-plane/push/server.ts";
import type { SidecarStatus } from "../../../src/control-plane/push/status.ts";
import { systemClock, wait } from "../../../src/core/clock.ts";
import { NODE } from "../../../src/push/names.ts";
import { keyOf } from "../../../src/resources/envelope.ts";
import {
  MESH,
  route,
  service,
  until,
  startWithOrders,
} from "../../support/control-plane/push-control-plane.ts";
import { enrolRaw, openRaw } from "../../support/control-plane/raw-sidecar.ts";
import { digestOf } from "../../support/control-plane/digest.ts";

async function statusOf(
  push: PushServer,
  name: string,
): Promise<SidecarStatus | undefined> {
  return (await push.status()).find((sidecar) => sidecar.name === name);
}

void t.test(
  "the first push brings everything in scope, and its Revision says what that is",
  async (t) => {
    const plane = await startWithOrders(t);
    await plane.store.put(
      service("kept", { exportTo: ["."] }, "infra"),
      "absent",
    );
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    const push = await sidecar.push();
    t.same(push.names.sort(), ["Mesh//default", "Service/shop/orders"]);
    t.match(push.revision, {
      store: plane.store.id,
      accepted: false,
      digest: digestOf([
        ["Mesh//default", "1"],
        ["Service/shop/orders", "2"],
      ]),
    });
    await until(
      async () =>
        (await statusOf(plane.push, "web-1"))?.acknowledged !== undefined,
    );
    t.match(await statusOf(plane.push, "web-1"), {
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
      connected: true,
      pending: false,
      acknowledged: {
        revision: push.revision.revision,
        digest: push.revision.digest,
      },
    });
  },
);

void t.test(
  "a change of one route among 1,000 sends one resource, encoded once for all sidecars",
  async (t) => {
    const plane = await startWithOrders(t);
    for (let index = 0; index < 1000; index += 1)
      await plane.store.put(route(`r${index}`, "orders"), "absent");
    const sidecars = await Promise.all(
      ["web-1", "web-2", "web-3"].map(async (name) =>
        openRaw(t, plane.address, await enrolRaw(plane, name)),
      ),
    );
    const first = await Promise.all(sidecars.map((sidecar) => sidecar.push()));
    t.same(
      first.map(({ names }) => names.length),
      [1002, 1002, 1002],
    );
    await until(() => plane.push.statistics().acknowledged === 3);
    const before = plane.push.statistics();
    t.equal(before.encoded, 1002);
    const changed = route("r500", "orders");
    await plane.store.put(
      {
        ...changed,
        metadata: { ...changed.metadata, labels: { changed: "yes" } },
      },
      undefined,
    );
    const second = await Promise.all(sidecars.map((sidecar) => sidecar.push()));
    for (const { names, removed } of second)
      t.same([names, removed], [["HTTPRoute/shop/r500"], []]);
    const after = plane.push.statistics();
    t.equal(after.resources - before.resources, 3, "one for each sidecar");
    t.equal(after.encoded - before.encoded, 1, "one for all");
    t.ok(
      after.bytes - before.bytes < 6000,
      `${after.bytes - before.bytes} bytes`,
    );
  },
);

void t.test(
  "a removal names the resource, and nothing else travels",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    await sidecar.push();
    await plane.store.remove(keyOf(service("orders")));
    const { names, removed, revision } = await sidecar.push();
    t.same([names, removed], [[], ["Service/shop/orders"]]);
    t.equal(revision.digest, digestOf([["Mesh//default", "1"]]));
  },
);

void t.test(
  "a sidecar that comes back gets the differences alone",
  async (t) => {
    const plane = await startWithOrders(t);
    const credentials = await enrolRaw(plane, "web-1");
    const metadata = { [NODE.store]: plane.store.id, [NODE.revision]: "3" };
    const held = new Map([
      ["Mesh//default", "1"],
      ["Service/shop/orders", "1"],
      ["Service/shop/gone", "1"],
    ]);
    const sidecar = openRaw(t, plane.address, credentials, {
      metadata,
      initialVersions: held,
    });
    const { names, removed } = await sidecar.push();
    t.same([names, removed], [["Service/shop/orders"], ["Service/shop/gone"]]);
    const again = openRaw(t, plane.address, credentials, {
      metadata,
      initialVersions: new Map([
        ["Mesh//default", "1"],
        ["Service/shop/orders", "2"],
      ]),
    });
    t.match(
      await again.push(),
      { names: [], removed: [], messages: 1 },
      "only a Revision where there is nothing to bring",
    );
  },
);

void t.test(
  "versions of another store, or of a later past, are not compared: everything is sent",
  async (t) => {
    const plane = await startWithOrders(t);
    const credentials = await enrolRaw(plane, "web-1");
    const initialVersions = new Map([
      ["Mesh//default", "1"],
      ["Service/shop/orders", "2"],
    ]);
    for (const metadata of [
      {
        [NODE.store]: "00000000-0000-4000-8000-000000000000",
        [NODE.revision]: "2",
      },
      { [NODE.store]: plane.store.id, [NODE.revision]: "1000" },
    ]) {
      const sidecar = openRaw(t, plane.address, credentials, {
        metadata,
        initialVersions,
      });
      t.equal((await sidecar.push()).names.length, 2);
      sidecar.close();
    }
  },
);

void t.test(
  "one message at a time: changes that come while one is unanswered go out together",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    const first = await sidecar.next();
    for (let index = 0; index < 50; index += 1)
      await plane.store.put(service(`s${index}`), "absent");
    await wait(systemClock, 200, new AbortController().signal);
    t.equal(
      sidecar.received.length,
      1,
      "nothing follows what is not acknowledged",
    );
    t.equal((await statusOf(plane.push, "web-1"))?.pending, true);
    sidecar.send({ typeUrl: first.typeUrl, nonce: "another" });
    sidecar.send({ typeUrl: first.typeUrl, nonce: first.nonce });
    const rest = await sidecar.push();
    t.equal(rest.messages, 1, "the Revision of the first push");
    const second = await sidecar.push();
    t.equal(second.names.length, 50);
    t.equal(plane.push.statistics().pushes, 2);
  },
);

void t.test(
  "a large push travels in parts, and each waits for the answer to the one before",
  async (t) => {
    const plane = await startWithOrders(t);
    const annotations = { note: "x".repeat(60_000) };
    for (let index = 0; index < 30; index += 1) {
      const resource = service(`s${index}`);
      await plane.store.put(
        { ...resource, metadata: { ...resource.metadata, annotations } },
        "absent",
      );
    }
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    const { names, messages } = await sidecar.push();
    t.equal(names.length, 32);
    t.ok(messages >= 5, `${messages} messages`);
  },
);

void t.test(
  "a refusal is shown with its reason until a push is taken, and the next push brings only what changed",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    const other = openRaw(t, plane.address, await enrolRaw(plane, "web-2"));
    await sidecar.push();
    await other.push();
    const written = await plane.store.put(route("bad", "orders"), "absent");
    const { revision } = await sidecar.push("I cannot compile this");
    await other.push();
    await until(
      async () =>
        (await statusOf(plane.push, "web-1"))?.refused !== undefined &&
        plane.push.statistics().acknowledged === 3,
    );
    t.match(await statusOf(plane.push, "web-1"), {
      refused: {
        reason: "I cannot compile this",
        version: { revision: revision.revision },
      },
      acknowledged: {
        digest: digestOf([
          ["Mesh//default", "1"],
          ["Service/shop/orders", "2"],
        ]),
      },
    });
    const version = written.metadata.resourceVersion ?? "";
    t.same(plane.push.inForce(keyOf(written), version), {
      have: 1,
      of: 2,
      refused: 1,
    });
    const refusing = plane.push.refusing();
    t.match(refusing, [
      { namespace: "shop", name: "web-1", reason: "I cannot compile this" },
    ]);
    t.same(
      [keyOf(written), keyOf(MESH)].map((key) => refusing[0]?.has(key)),
      [true, false],
      "what it has in force it does not refuse",
    );
    t.same(plane.push.inForce(keyOf(MESH), "1"), {
      have: 2,
      of: 2,
      refused: 0,
    });
    await plane.store.remove(keyOf(written));
    t.match(await sidecar.push(), {
      names: [],
      removed: ["HTTPRoute/shop/bad"],
    });
    await until(
      async () => (await statusOf(plane.push, "web-1"))?.refused === undefined,
    );
    t.same(plane.push.refusing(), []);
    t.same(plane.push.inForce(keyOf(written), version), {
      have: 0,
      of: 0,
      refused: 0,
    });
  },
);

void t.test(
  "a change outside a sidecar's scope sends it nothing",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    await sidecar.push();
    await plane.token();
    await plane.store.put(
      service("kept", { exportTo: ["."] }, "infra"),
      "absent",
    );
    await plane.store.put(service("seen"), "absent");
    const push = await sidecar.push();
    t.same(push.names, ["Service/shop/seen"]);
  },
);

void t.test(
  "a sidecar that knows another store hears of an acceptance, and only of the right one",
  async (t) => {
    const plane = await startWithOrders(t);
    const metadata = {
      [NODE.store]: "00000000-0000-4000-8000-000000000000",
      [NODE.revision]: "2",
    };
    const credentials = await enrolRaw(plane, "web-1");
    const sidecar = openRaw(t, plane.address, credentials, { metadata });
    t.equal((await sidecar.push("another store")).revision.accepted, false);
    await until(
      async () => (await statusOf(plane.push, "web-1"))?.refused !== undefined,
    );
    await t.rejects(plane.push.accept("00000000-0000-4000-8000-000000000000"), {
      name: "UserError",
    });
    await plane.push.accept(plane.store.id);
    t.equal((await sidecar.push()).revision.accepted, true);
    sidecar.close();
    const later = openRaw(t, plane.address, credentials, { metadata });
    t.equal(
      (await later.push()).revision.accepted,
      true,
      "also one that was away",
    );
  },
);

void t.test("a sidecar that has left is shown as such", async (t) => {
  const plane = await startWithOrders(t);
  const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
  await sidecar.push();
  sidecar.close();
  await until(
    async () => (await statusOf(plane.push, "web-1"))?.connected === false,
  );
  t.ok((await statusOf(plane.push, "web-1"))?.disconnectedAt);
  t.equal(plane.push.statistics().connected, 0);
  t.same(plane.push.inForce(keyOf(MESH), "1"), { have: 0, of: 0, refused: 0 });
});

void t.test("the newest stream of a sidecar ends the one before", async (t) => {
  const plane = await startWithOrders(t);
  const credentials = await enrolRaw(plane, "web-1");
  const old = openRaw(t, plane.address, credentials);
  await old.push();
  const young = openRaw(t, plane.address, credentials);
  await young.push();
  t.match(await old.ended(), { code: status.ABORTED });
  t.equal((await plane.push.status()).length, 1);
  t.equal((await statusOf(plane.push, "web-1"))?.connected, true);
});

void t.test(
  "two streams of one sidecar, the old and the new, count as one",
  async (t) => {
    const plane = await startWithOrders(t);
    const first = await enrolRaw(plane, "web-1");
    const second = await enrolRaw(plane, "web-1");
    const old = openRaw(t, plane.address, first);
    await old.push();
    await until(() => plane.push.statistics().acknowledged === 1);
    const young = openRaw(t, plane.address, second);
    await young.next();
    const count = (): unknown => plane.push.inForce(keyOf(MESH), "1");
    t.equal(plane.push.statistics().connected, 2);
    t.same(
      count(),
      { have: 0, of: 1, refused: 0 },
      "the newer one has nothing",
    );
    young.close();
    await until(() => plane.push.statistics().connected === 1);
    t.same(
      count(),
      { have: 1, of: 1, refused: 0 },
      "the older one counts again",
    );
  },
);
