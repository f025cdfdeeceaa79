/** The control plane as a whole: what it makes at first start, what it keeps over restarts and losses, and what it refuses to do. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t, { type Test } from "tap";
import {
  startControlPlane,
  type ControlPlane,
  type ControlPlaneOptions,
} from "../../src/control-plane/control-plane.ts";
import { openSqliteStore } from "../../src/control-plane/store/sqlite.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { parseToken } from "../../src/push/token.ts";
import type { Resource } from "../../src/resources/envelope.ts";

type Changes = Partial<ControlPlaneOptions>;

function optionsFor(directory: string, changes: Changes): ControlPlaneOptions {
  return {
    stateDirectory: join(directory, "state"),
    store: "sqlite",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
    ...changes,
  };
}

async function start(
  t: Test,
  directory: string,
  changes: Changes = {},
): Promise<ControlPlane> {
  const running = await startControlPlane(optionsFor(directory, changes));
  t.teardown(() => running.close());
  return running;
}

async function call(
  running: ControlPlane,
  path: string,
  token = readFileSync(running.adminTokenFile, "utf8").trim(),
): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${running.apiUrl}${path}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return {
    status: answer.status,
    body: (await answer.json()) as Record<string, unknown>,
  };
}

const MESH = "/apis/mesh.wherry.dev/v1alpha1/meshes/default";

void t.test(
  "first start makes the Mesh, the authority and the administrator's token, all private",
  async (t) => {
    const directory = t.testdir();
    const running = await start(t, directory);
    const state = join(directory, "state");
    t.equal(statSync(state).mode & 0o777, 0o700);
    const other = join(directory, "open", "state");
    mkdirSync(other, { recursive: true });
    chmodSync(other, 0o777);
    await start(t, join(directory, "open"));
    t.equal(statSync(other).mode & 0o777, 0o755, "others replace nothing");
    for (const file of ["admin.token", "store.sqlite", "authority/root.key"])
      t.equal(statSync(join(state, file)).mode & 0o777, 0o600, file);
    t.match((await call(running, MESH)).body, {
      spec: {
        trustDomain: "cluster.local",
        authorization: { defaultAction: "ALLOW" },
      },
    });
    t.match((await call(running, "/store")).body, {
      id: running.store.id,
      kind: "sqlite",
    });
    t.equal((await call(running, "/readyz")).status, 200);
    t.match(running.pushAddress, /^127\.0\.0\.1:\d+$/);
  },
);

void t.test(
  "the production profile denies what no policy allows",
  async (t) => {
    const running = await start(t, t.testdir(), {
      profile: "production",
      store: "memory",
    });
    t.match((await call(running, MESH)).body, {
      spec: { authorization: { defaultAction: "DENY" } },
    });
  },
);

void t.test("a restart keeps everything, and changes nothing", async (t) => {
  const directory = t.testdir();
  const first = await start(t, directory);
  const token = readFileSync(first.adminTokenFile, "utf8");
  const revision = await first.store.revision();
  await first.close();
  await t.rejects(
    first.store.revision().then(() => first.store.list("Mesh")),
    {
      name: "StoreError",
    },
  );
  const second = await start(t, directory);
  t.equal(second.store.id, first.store.id);
  t.equal(second.authority.fingerprint, first.authority.fingerprint);
  t.equal(readFileSync(second.adminTokenFile, "utf8"), token);
  t.equal(await second.store.revision(), revision);
  t.equal((await call(second, "/status")).status, 200);
});

void t.test(
  "with the database lost, the administrator's token and the authority go on",
  async (t) => {
    const directory = t.testdir();
    const first = await start(t, directory);
    await first.close();
    rmSync(join(directory, "state", "store.sqlite"));
    const second = await start(t, directory);
    t.not(second.store.id, first.store.id);
    t.equal(second.authority.fingerprint, first.authority.fingerprint);
    t.equal((await call(second, "/status")).status, 200);
  },
);

void t.test(
  "the token of the file does not come back once it is revoked",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "state", "admin.token");
    const first = await start(t, directory);
    const old = readFileSync(file, "utf8").trim();
    const path = `/tokens/api/${old.split(".")[1] ?? ""}`;
    const headers = { authorization: `Bearer ${old}` };
    const method = "DELETE";
    const revoked = await fetch(`${first.apiUrl}${path}`, { method, headers });
    t.equal(revoked.status, 200);
    await first.close();
    const second = await start(t, directory);
    t.equal((await call(second, "/status", old)).status, 401);
    const fresh = readFileSync(file, "utf8").trim();
    t.not(fresh, old);
    t.equal((await call(second, "/status", fresh)).status, 200);
    await second.close();
    const third = await start(t, directory);
    t.equal(readFileSync(file, "utf8").trim(), fresh);
    t.equal((await call(third, "/status", old)).status, 401);
  },
);

void t.test(
  "the token file: removed it stays away, emptied it is made anew, nonsense is refused",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "state", "admin.token");
    const first = await start(t, directory);
    const old = readFileSync(file, "utf8").trim();
    await first.close();

    rmSync(file);
    const second = await start(t, directory);
    t.notOk(existsSync(file), "the operator took it away");
    t.equal((await call(second, "/status", old)).status, 200);
    await second.close();

    writeFileSync(file, "");
    const third = await start(t, directory);
    const fresh = readFileSync(file, "utf8").trim();
    t.not(fresh, old);
    t.equal(statSync(file).mode & 0o777, 0o600);
    t.equal((await call(third, "/status", fresh)).status, 200);
    await third.close();

    rmSync(join(directory, "state", "store.sqlite"));
    writeFileSync(file, "nonsense\n", { mode: 0o600 });
    await t.rejects(start(t, directory), {
      name: "UserError",
      message: /holds no API token/,
    });
  },
);

void t.test(
  "what cannot be served is refused in words, and leaves nothing open",
  async (t) => {
    const directory = t.testdir();
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    t.teardown(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const rows: readonly (readonly [string, Changes, RegExp])[] = [
      [
        "an address that others reach, without TLS",
        { api: { host: "0.0.0.0", port: 0 } },
        /not served without TLS on 0\.0\.0\.0.*certificate/,
      ],
      [
        "a port that is taken",
        { api: { host: "127.0.0.1", port } },
        /cannot listen on 127\.0\.0\.1:\d+: .*\(EADDRINUSE\).*--api/,
      ],
    ];
    for (const [title, changes, message] of rows)
      await t.rejects(
        start(t, directory, changes),
        { name: "UserError", message },
        title,
      );
    const running = await start(t, directory);
    t.equal(
      (await call(running, "/readyz")).status,
      200,
      "all was closed again",
    );
  },
);

void t.test("a store of another trust domain is not served", async (t) => {
  const directory = t.testdir();
  const first = await start(t, directory);
  await first.close();
  rmSync(join(directory, "state", "authority"), { recursive: true });
  await t.rejects(start(t, directory, { trustDomain: "other.example" }), {
    name: "UserError",
    message: /Mesh is of trust domain cluster\.local/,
  });
});

void t.test("a damaged database stops the start with what to do", async (t) => {
  const directory = t.testdir({
    state: { "store.sqlite": "not a database ".repeat(100) },
  });
  await t.rejects(start(t, directory), {
    name: "UserError",
    message: /damaged or not a database/,
  });
});

void t.test("with a certificate the API speaks TLS 1.3", async (t) => {
  const directory = t.testdir();
  const issuer = await start(t, directory);
  const { certificateChain, privateKey } = issuer.authority.own(
    "spiffe://cluster.local/ns/shop/sa/api",
  );
  const running = await start(t, t.testdir(), {
    store: "memory",
    stateDirectory: join(directory, "second"),
    api: {
      host: "127.0.0.1",
      port: 0,
      tls: { certificate: certificateChain, privateKey },
    },
  });
  t.match(running.apiUrl, /^https:/);
  const sent = request(`${running.apiUrl}/livez`, {
    rejectUnauthorized: false,
    agent: false,
  }).end();
  const [answer] = (await once(sent, "response")) as [{ statusCode: number }];
  t.equal(answer.statusCode, 200);
  const old = request(`${running.apiUrl}/livez`, {
    rejectUnauthorized: false,
    maxVersion: "TLSv1.2",
    agent: false,
  }).end();
  await t.rejects(once(old, "response"), /protocol version/);
});

void t.test(
  "enrolment tokens carry the authority's fingerprint and a way there",
  async (t) => {
    for (const [push, address] of [
      [{ host: "127.0.0.1", port: 0 }, /^127\.0\.0\.1:\d+$/],
      [{ host: "0.0.0.0", port: 0 }, undefined],
      [
        { host: "0.0.0.0", port: 0, advertise: "mesh.example:15012" },
        /^mesh\.example:15012$/,
      ],
    ] as const) {
      const running = await start(t, t.testdir(), { store: "memory", push });
      const token = readFileSync(running.adminTokenFile, "utf8").trim();
      const answer = await fetch(`${running.apiUrl}/tokens/enrolment`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
        },
        body: JSON.stringify({ namespace: "shop", serviceAccount: "web" }),
      });
      const made = parseToken(
        ((await answer.json()) as { token: string }).token,
      );
      t.equal(made?.ca, running.authority.fingerprint);
      if (address === undefined) t.equal(made?.address, undefined);
      else t.match(made?.address, address);
    }
  },
);

void t.test(
  "an operator's acceptance of the store reaches the push server",
  async (t) => {
    const running = await start(t, t.testdir(), { store: "memory" });
    t.match((await call(running, "/store")).body, { accepted: false });
    const token = readFileSync(running.adminTokenFile, "utf8").trim();
    const answer = await fetch(`${running.apiUrl}/store/accept`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ id: running.store.id }),
    });
    t.match(await answer.json(), { accepted: true });
  },
);

void t.test(
  "a kill at any moment loses no write that was acknowledged",
  async (t) => {
    const directory = t.testdir();
    const url = (path: string): string =>
      JSON.stringify(new URL(path, import.meta.url).href);
    const script = `
    import { startControlPlane } from ${url("../../src/control-plane/control-plane.ts")};
    import { systemClock } from ${url("../../src/core/clock.ts")};
    import { silentLogger } from ${url("../../src/core/log.ts")};
    const running = await startControlPlane({
      stateDirectory: ${JSON.stringify(join(directory, "state"))},
      store: "sqlite", trustDomain: "cluster.local", profile: "development",
      api: { host: "127.0.0.1", port: 0 }, push: { host: "127.0.0.1", port: 0 },
      clock: systemClock, logger: silentLogger,
    });
    for (let count = 1; ; count += 1) {
      const written = await running.store.put({
        apiVersion: "mesh.wherry.dev/v1alpha1", kind: "Service",
        metadata: { name: "counter", namespace: "shop" },
        spec: { ports: [{ port: count }] },
      }, undefined);
      console.log(written.spec.ports[0].port);
    }`;
    const child = spawn(
      process.execPath,
      ["--input-type=module", "--eval", script],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    t.teardown(() => child.kill("SIGKILL"));
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === 25) child.kill("SIGKILL");
    }
    const store = await openSqliteStore({
      file: join(directory, "state", "store.sqlite"),
      clock: systemClock,
    });
    const kept = (await store.get({
      kind: "Service",
      namespace: "shop",
      name: "counter",
    })) as Resource<{ ports: [{ port: number }] }>;
    t.ok(acknowledged >= 25);
    t.ok(
      kept.spec.ports[0].port >= acknowledged,
      `${kept.spec.ports[0].port} kept of ${acknowledged} acknowledged`,
    );
    await store.close();
    const again = await start(t, directory);
    t.equal((await call(again, "/status")).status, 200);
  },
);
