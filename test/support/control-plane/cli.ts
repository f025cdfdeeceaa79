/** Runs commands of the CLI in this process, against a real control plane or a server of the test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { CliContext } from "../../../src/cli/context.ts";
import { runWith } from "../../../src/cli/run.ts";
import {
  startControlPlane,
  type ControlPlane,
} from "../../../src/control-plane/control-plane.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command; what it would have written is in the result. */
export async function runCli(
  argv: readonly string[],
  world: Partial<Omit<CliContext, "readInput">> & {
    readonly input?: string;
  } = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const { input = "", ...rest } = world;
  const context: CliContext = {
    clock: systemClock,
    environment: {},
    colours: false,
    print: (text) => void (out += text),
    complain: (text) => void (err += text),
    readInput: () => Promise.resolve(input),
    stop: new AbortController().signal,
    exitCode: 0,
    ...rest,
  };
  const code = await runWith(argv, context);
  return { code, out, err };
}

export interface Running {
  readonly controlPlane: ControlPlane;
  /** The options by which a command finds it. */
  readonly options: readonly string[];
  /** Runs a command against it. */
  readonly cli: (...argv: string[]) => Promise<Ran>;
}

/** A control plane in memory, on ports of its own, until the test ends. */
export async function withControlPlane(t: Test): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), "wherry-cli-"));
  const controlPlane = await startControlPlane({
    stateDirectory: directory,
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
  t.teardown(async () => {
    await controlPlane.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const options = [
    "--server",
    controlPlane.apiUrl,
    "--token-file",
    controlPlane.adminTokenFile,
  ];
  return {
    controlPlane,
    options,
    cli: (...argv) => runCli([...argv, ...options]),
  };
}

/** A server that answers as the test says; gives its URL. */
export async function withServer(
  t: Test,
  listener: RequestListener,
): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve()),
  );
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
