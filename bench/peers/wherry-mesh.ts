/** A sidecar of a mesh that has its certificate and its last good config on disk, and whose control plane is down. */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "yaml";
import type { Clock } from "../../src/core/clock.ts";
import { messageOf, UserError } from "../../src/core/errors.ts";
import { TRUST_DOMAIN } from "../certificates.ts";
import { INBOUND_PORT, pinnedTo, type PeerSettings } from "../peer.ts";
import { start, untilReady, launch, type Command } from "../processes.ts";
import {
  INBOUND_METRICS,
  inboundArguments,
  sidecarArguments,
  wherryArguments,
} from "./wherry.ts";
import { resourcesOf } from "./wherry-resources.ts";

const API = 8231;
const PUSH = 8232;
const SERVER = `http://127.0.0.1:${API}`;

/** What was prepared already, by the folder that it stands in. */
const prepared = new Map<string, Promise<Command>>();

/** The command that starts it. Enrols it at a control plane of its own first, once for each folder. */
export function lastKnownGood(
  settings: PeerSettings,
  clock: Clock,
): Promise<Command> {
  const { directory } = settings;
  const known = prepared.get(directory) ?? prepare(settings, clock);
  prepared.set(directory, known);
  return known;
}

async function prepare(settings: PeerSettings, clock: Clock): Promise<Command> {
  const directory = join(settings.directory, "mesh");
  await mkdir(directory, { recursive: true });
  const state = join(directory, "control-plane");
  const main = join(settings.dist, "wherry.js");
  const wherry = (...args: readonly string[]): Promise<string> =>
    runCommand([main, ...args, "--server", SERVER, "--state", state]);
  const controlPlane = await start(
    {
      name: "Wherry, control plane",
      command: process.execPath,
      args: [
        ...[main, "control-plane", "--state", state, "--store", "memory"],
        ...["--trust-domain", TRUST_DOMAIN, "--profile", "development"],
        ...["--api", `127.0.0.1:${API}`, "--push", `127.0.0.1:${PUSH}`],
        ...["--log-level", "error"],
      ],
      port: API,
    },
    clock,
  );
  try {
    const token = await wherry(
      ...["token", "create", "-n", "bench", "--service-account", "callee"],
      ...["--label", "app=callee"],
    );
    const file = join(directory, "mesh.yaml");
    await writeFile(
      file,
      resourcesOf(settings, "registered")
        .map((resource) => stringify(resource))
        .join("---\n"),
    );
    await wherry("apply", "-f", file);
    const command = sidecar(settings, join(directory, "sidecar"));
    const first = await launch(
      { ...command, args: [...command.args, "--token", token] },
      clock,
    );
    try {
      await untilReady(
        first,
        { port: INBOUND_METRICS, path: "/readyz" },
        clock,
      );
    } finally {
      await first.stop();
    }
    return command;
  } finally {
    await controlPlane.stop();
  }
}

async function runCommand(args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return stdout.trim();
  } catch (error) {
    throw new UserError(`the mesh is not set up: ${messageOf(error)}`);
  }
}

function sidecar(settings: PeerSettings, state: string): Command {
  return {
    name: "Wherry, from its last good config",
    command: process.execPath,
    args: wherryArguments(settings.dist, [
      ...["--control-plane", `127.0.0.1:${PUSH}`, "--state", state],
      ...["--name", "callee-1", "--address", "127.0.0.1"],
      ...sidecarArguments(settings),
      ...inboundArguments(),
    ]),
    port: INBOUND_PORT,
    ...pinnedTo(settings.cores),
  };
}
