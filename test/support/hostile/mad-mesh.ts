/** A sidecar as a process of its own, whose control plane, in a process too, goes mad when it is told to. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../../src/demo/free-port.ts";
import { call, eventually, paced, type Called } from "../peers/call.ts";
import { cleanEnvironment, ROOT } from "../processes/demo.ts";
import type { MadPlaneTold } from "./mad-plane-process.ts";
import type { Madness } from "./madness.ts";

export interface MadMesh {
  /** A control plane's next moods; undefined: it serves. */
  madden(madness: Madness | undefined): Promise<void>;
  /** Resolves once a sidecar follows the control plane. */
  followed(): Promise<void>;
  /** A sidecar that serves what this control plane has told it, while it was well. */
  sidecar(): Promise<MadSidecar>;
  close(): Promise<void>;
}

export interface MadSidecar {
  /** Calls through it, 200 a second. */
  calls(count: number): Promise<readonly Called[]>;
  /** Milliseconds of CPU that its process has taken, in steps of 10. */
  cpu(): Promise<number>;
  /** Bytes. */
  resident(): Promise<number>;
  readonly log: string;
  stop(): Promise<void>;
}

const RATE = 200;

export async function startMadMesh(): Promise<MadMesh> {
  const plane = spawn(
    process.execPath,
    [
      join(import.meta.dirname, "mad-plane-process.ts"),
      ...["127.0.0.1", "orders", "127.0.0.1/32"],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines = createInterface({ input: plane.stdout })[
    Symbol.asyncIterator
  ]();
  const told = JSON.parse((await lines.next()).value ?? "") as MadPlaneTold;
  const application = createServer((request, response) => {
    request.resume();
    response.end("ok");
  });
  await new Promise<void>((resolve) => {
    application.listen(0, "127.0.0.1", 1024, resolve);
  });
  const { port } = application.address() as AddressInfo;
  return {
    async madden(madness) {
      await call(`http://127.0.0.1:${told.orders}/`, {
        method: "POST",
        body: madness ?? "",
      });
    },
    async followed() {
      await eventually(
        "the sidecar is back",
        60_000,
        () => call(`http://127.0.0.1:${told.orders}/`),
        ({ text }) => text !== "0",
      );
    },
    sidecar: () => startMadSidecar(told.port, told.token, port),
    async close() {
      await killed(plane);
      application.closeAllConnections();
      application.close();
    },
  };
}

async function startMadSidecar(
  controlPlane: number,
  token: string,
  appPort: number,
): Promise<MadSidecar> {
  const state = await mkdtemp(join(tmpdir(), "wherry-mad-"));
  const [published, metrics] = [await freePort(), await freePort()];
  const child = spawn(
    process.execPath,
    [
      ...[join(ROOT, "src", "wherry.js"), "sidecar"],
      ...["--control-plane", `127.0.0.1:${controlPlane}`, "--token", token],
      ...["--no-capture", "--host", "127.0.0.1", "--address", "127.0.0.1"],
      ...["--app-port", `http=${appPort}`, "--state", join(state, "state")],
      ...["--outbound-port", "0", "--link-port", "0", "--admin-port", "0"],
      ...["--metrics-port", String(metrics), "--access-log", "none"],
      ...["--publish", `${published}=${appPort}`],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
  const proc = (file: string): Promise<string> =>
    readFile(`/proc/${child.pid ?? 0}/${file}`, "latin1");
  await eventually(
    "the sidecar is ready",
    60_000,
    async () => {
      if (child.exitCode !== null) throw new Error(log);
      return (await call(`http://127.0.0.1:${metrics}/readyz`)).status;
    },
    (status) => status === 200,
  );
  return {
    calls: (count) =>
      paced(count, RATE, () =>
        call(`http://127.0.0.1:${published}/`, {
          headers: { host: "orders.shop" },
        }),
      ),
    async cpu() {
      const fields = (await proc("stat")).split(") ")[1]?.split(" ") ?? [];
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    async resident() {
      const kilobytes = /^VmRSS:\s+(\d+)/m.exec(await proc("status"))?.[1];
      return Number(kilobytes) * 1024;
    },
    get log() {
      return log;
    },
    async stop() {
      await killed(child);
      await rm(state, { recursive: true, force: true });
    },
  };
}

function killed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
