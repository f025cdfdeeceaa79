/** The sidecar that is measured: alone on its core, in front of a caller, with the probe in its process. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { request } from "undici";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import { pinnedTo } from "../peer.ts";
import {
  launch,
  untilReady,
  type Command,
  type Running,
} from "../processes.ts";
import {
  MOST_CONFIG,
  PORTS,
  READY_WITHIN,
  type Surroundings,
} from "./layout.ts";
import { heldUpSince, probeArguments, type HeldUp } from "./probe.ts";
import { watchCpu, type Spent } from "./schedstat.ts";

export interface Sidecar {
  readonly running: Running;
  /** Milliseconds from the start of its process until its readiness answered 200. */
  readonly readyAfter: number;
  /** Milliseconds of CPU until then, of all its threads. */
  readonly cpuToReady: number;
  readonly cpu: Spent;
  /** Since it was asked last. */
  heldUp(): Promise<HeldUp>;
  /** What its own page says stands in the way of its config; "" for nothing. */
  fault(): Promise<string>;
  stop(): Promise<void>;
}

export interface SidecarOptions {
  /** Where its config comes from. */
  readonly source: readonly string[];
  readonly state: string;
  /** Options besides, such as `--scope used`. */
  readonly more: readonly string[];
}

/** Resolves when it is ready. */
export async function startSidecar(
  options: SidecarOptions,
  around: Surroundings,
): Promise<Sidecar> {
  const { clock, directory } = around;
  const socket = join(directory, "sidecar.probe");
  await rm(socket, { force: true });
  const from = clock.now();
  const running = await launch(command(options, socket, around), clock);
  try {
    await untilReady(
      running,
      { port: PORTS.metrics, path: "/readyz" },
      clock,
      READY_WITHIN,
    );
  } catch (thrown) {
    await running.stop();
    throw thrown;
  }
  return {
    running,
    readyAfter: clock.now() - from,
    cpuToReady: 1000 * running.cpu(),
    cpu: watchCpu(running.pid),
    heldUp: () => heldUpSince(socket),
    async fault() {
      const page = await request(`http://127.0.0.1:${PORTS.admin}/config`);
      const { lastError } = (await page.body.json()) as { lastError?: string };
      return lastError ?? "";
    },
    stop: () => running.stop(),
  };
}

/** From a control plane; without a token it has been there before. */
export function fromControlPlane(
  name: string,
  token: string | undefined,
): readonly string[] {
  return [
    ...["--control-plane", `127.0.0.1:${PORTS.push}`, "--name", name],
    ...["--address", "127.0.0.1"],
    ...(token === undefined ? [] : ["--token", token]),
  ];
}

function command(
  { source, state, more }: SidecarOptions,
  socket: string,
  { dist, cores, nodeArguments }: Surroundings,
): Command {
  return {
    name: "Wherry, sidecar",
    command: process.execPath,
    args: [
      "--disable-warning=ExperimentalWarning",
      ...SIDECAR_FLAGS,
      ...nodeArguments,
      ...probeArguments(socket),
      ...[join(dist, "wherry.js"), "sidecar", ...source, "--state", state],
      ...["--access-log", "none", "--log-level", "error"],
      ...["--host", "127.0.0.1", "--no-capture", "--drain-timeout", "1s"],
      ...["--outbound-port", String(PORTS.outbound)],
      ...["--link-port", String(PORTS.link)],
      ...["--admin-port", String(PORTS.admin)],
      ...["--metrics-port", String(PORTS.metrics)],
      ...["--max-config-bytes", String(MOST_CONFIG), ...more],
    ],
    port: PORTS.outbound,
    ...pinnedTo(cores.proxies),
  };
}
