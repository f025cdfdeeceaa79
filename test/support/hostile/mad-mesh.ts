/** A sidecar as a process of its own, whose control plane, in a process too, goes mad when it is told to. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../../src/demo/free-port.ts";
import { call, eventually, paced, type Called } from "../peers/call.ts";
import { cleanEnvironment } from "../processes/demo.ts";
import {
  startSidecarProcess,
  untilReady,
} from "../processes/sidecar-process.ts";
import { cpuOf, residentOf } from "../processes/usage.ts";
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
  cpu(): number;
  /** Bytes. */
  resident(): number;
  /** What it has logged. */
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

/** Each has a name of its own: those before it have certificates for theirs. */
let sidecars = 0;

async function startMadSidecar(
  controlPlane: number,
  token: string,
  application: number,
): Promise<MadSidecar> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-mad-"));
  const published = await freePort();
  sidecars += 1;
  const sidecar = await startSidecarProcess({
    push: `127.0.0.1:${controlPlane}`,
    account: "orders",
    name: `orders-${sidecars}`,
    state: join(directory, "state"),
    ...{ application, token },
    more: [
      ...["--publish", `${published}=${application}`],
      ...["--access-log", "none"],
    ],
  });
  await untilReady("the sidecar", sidecar);
  const { pid } = sidecar.process;
  return {
    calls: (count) =>
      paced(count, RATE, () =>
        call(`http://127.0.0.1:${published}/`, {
          headers: { host: "orders.shop" },
        }),
      ),
    cpu: () => cpuOf(pid),
    resident: () => residentOf(pid),
    get log() {
      return sidecar.process.log;
    },
    async stop() {
      await sidecar.process.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function killed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
