/** The sidecar's own pages. */
import t from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import { startProbe } from "../../../src/sidecar/probe.ts";
import { systemClock } from "../../../src/core/clock.ts";
import {
  ADMIN_AUTHORIZATION,
  listening,
  send,
  until,
  withPair,
} from "../../support/meshes/pair.ts";
import { createServer } from "node:net";

const local = { host: "127.0.0.1" };
const allowed = { ...local, headers: { authorization: ADMIN_AUTHORIZATION } };

void t.test("admin pages show what is in force and never a key", async (t) => {
  await withPair({}, async (pair) => {
    await pair.call();
    const admin = pair.caller.ports.admin ?? 0;
    const config = await send(admin, { path: "/config", ...local });
    t.match(JSON.parse(config.text), {
      version: { store: "test", revision: 1 },
      source: "files",
      self: { name: "web-1" },
      destinations: [{ key: "orders.shop:80", endpoints: 1 }],
    });
    const certs = await send(admin, { path: "/certs", ...local });
    t.match(JSON.parse(certs.text), { id: pair.authority.id("web") });
    t.notMatch(certs.text, /PRIVATE KEY/);
    const clusters = await send(admin, { path: "/clusters", ...local });
    t.match(JSON.parse(clusters.text), {
      clusters: [
        {
          key: "orders.shop:80",
          breaker: { state: "closed", calls: 1, failures: 0 },
          endpoints: [{ key: /orders-1/, ejectedForMs: 0, active: 0 }],
        },
      ],
      pools: [{ connections: 1 }],
    });
    const level = await send(admin, {
      method: "POST",
      path: "/logging?level=silent",
      ...allowed,
    });
    t.equal(level.status, 200);
    t.equal(
      (
        await send(admin, {
          method: "POST",
          path: "/logging?level=x",
          ...allowed,
        })
      ).status,
      400,
    );
    t.equal((await send(admin, { path: "/nothing", ...local })).status, 404);
  });
});

void t.test(
  "a web page under another name does not reach the admin port",
  async (t) => {
    await withPair({}, async (pair) => {
      const answer = await send(pair.caller.ports.admin ?? 0, {
        path: "/config",
        host: "rebound.example",
      });
      t.equal(answer.status, 403);
    });
  },
);

void t.test("metrics hold what the law asks for", async (t) => {
  await withPair({}, async (pair) => {
    await pair.call({ method: "POST", body: "12345" });
    const { text } = await send(pair.caller.ports.metrics ?? 0, {
      path: "/metrics",
      ...local,
    });
    for (const series of [
      /wherry_requests_total\{direction="outbound",destination="orders\.shop:80",peer="",status="200",reason=""\} 1/,
      /wherry_request_duration_seconds_count\{direction="outbound",destination="orders\.shop:80"\} 1/,
      /wherry_body_bytes_total\{direction="outbound",destination="orders\.shop:80",kind="received"\} 5/,
      /wherry_connections\{kind="upstream"\} 1/,
      /wherry_certificate_expiry_seconds \d+/,
      /wherry_config_age_seconds -1/,
    ])
      t.match(text, series);
  });
});

void t.test("POST /drain shuts the sidecar down", async (t) => {
  await withPair({}, async (pair) => {
    const answer = await send(pair.callee.ports.admin ?? 0, {
      method: "POST",
      path: "/drain",
      ...allowed,
    });
    t.equal(answer.status, 202);
    await pair.callee.shutDown();
    t.ok(pair.instances[0]?.agent?.calls.includes("deregister"));
    t.notOk(pair.callee.readiness.proxy);
  });
});

void t.test(
  "POST /quit does not wait for the application, after POST /drain neither",
  async (t) => {
    for (const paths of [["/quit"], ["/drain", "/quit"]])
      await withPair({}, async (pair) => {
        for (const path of paths) {
          const { status } = await send(pair.callee.ports.admin ?? 0, {
            method: "POST",
            path,
            ...allowed,
          });
          t.equal(status, 202);
        }
        // The application of the pair lives on: a drain alone would wait for it.
        t.equal(await pair.callee.over, undefined);
        t.ok(pair.instances[0]?.agent?.calls.includes("deregister"));
      });
  },
);

void t.test("the probe follows the application", async (t) => {
  const server = createServer((socket) => socket.destroy());
  const port = await listening(server);
  const probe = startProbe({
    // A hundred times as fast, so that a test need not wait.
    clock: {
      ...systemClock,
      after: (ms, run) =>
        systemClock.after(ms >= 1000 ? ms / 100 : ms / 10, run),
    },
    logger: silentLogger,
    ownPorts: new Set(),
    address: "127.0.0.1",
    ports: () => [port],
  });
  try {
    await until(() => probe.found.value?.answers === true);
    server.close();
    await until(() => probe.found.value?.answers === false);
    server.listen(port, "127.0.0.1");
    await until(() => probe.found.value?.answers === true);
    t.pass("there, gone, and there again");
  } finally {
    probe.close();
    server.close();
  }
});

void t.test("without ports there is nothing to wait for", async (t) => {
  const probe = startProbe({
    clock: systemClock,
    logger: silentLogger,
    ownPorts: new Set(),
    address: "127.0.0.1",
    ports: () => [],
  });
  await until(() => probe.found.value?.answers === true);
  t.same(probe.found.value, { answers: true, silent: new Map() });
  probe.close();
});
