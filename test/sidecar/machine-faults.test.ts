/** Each port that a sidecar opens fails once for want of something on this machine: it starts all the same. What a person must fix ends the start. */
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import {
  startSidecar,
  type Sidecar,
  type SidecarOptions,
} from "../../src/sidecar/sidecar.ts";
import { localToken } from "../../src/core/local/local-token.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { failListen } from "../support/faults/listen-faults.ts";
import { memoryAgent, send } from "../support/meshes/pair.ts";

const CODES = ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"];

const credentials = fakeAuthority().credentials("web");

function start(more: Partial<SidecarOptions> = {}): Promise<Sidecar> {
  return startSidecar({
    agent: () => Promise.resolve(memoryAgent(undefined, credentials)),
    clock: systemClock,
    host: "127.0.0.1",
    metricsHost: "127.0.0.1",
    adminToken: localToken("/state/sidecar-admin.token", "lever"),
    ports: { outbound: 0, inbound: 0, link: 0, admin: 0, metrics: 0 },
    publish: [{ port: 0, appPort: 1 }],
    appPorts: [],
    accessLog: "none",
    ...more,
  });
}

function acceptErrors(): number {
  let sum = 0;
  for (const { part, count } of machineErrors())
    if (part === "accept") sum += count;
  return sum;
}

void t.test("whichever port cannot be opened at first", async (t) => {
  const watched = failListen(0, "");
  const model = await start();
  watched.release();
  const count = watched.servers.length;
  t.ok(count >= 7, `${count} servers`);
  const before = acceptErrors();
  for (const server of watched.servers)
    server.emit("error", Object.assign(new Error(), { code: "ENOMEM" }));
  t.equal(acceptErrors() - before, count, "and what cannot be let in, counts");
  await model.destroy();
  for (let at = 1; at <= count; at += 1) {
    const code = CODES[at % CODES.length] ?? "";
    const faults = failListen(at, code);
    const sidecar = await start();
    faults.release();
    t.equal(faults.servers.length, count + 1, `${code} at ${at} of ${count}`);
    const { admin = 0 } = sidecar.ports;
    const { status } = await send(admin, { path: "/stats", host: "localhost" });
    t.equal(status, 200);
    await sidecar.destroy();
  }
});

void t.test(
  "with several workers: its turn, and the look whether a port is free",
  async (t) => {
    for (const at of [1, 3]) {
      const faults = failListen(at, "EMFILE");
      const sidecar = await start({ concurrency: 2 });
      faults.release();
      t.ok(faults.servers.length > at, `${at}`);
      await sidecar.destroy();
    }
  },
);

void t.test("a port that is in use is not tried again", async (t) => {
  const faults = failListen(1, "EADDRINUSE");
  await t.rejects(start(), UserError);
  faults.release();
  t.equal(faults.servers.length, 1);
});
