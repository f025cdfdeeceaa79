/** The program of `test/support/processes/go`: a workload that is not ours, built on Go's crypto/tls and go-spiffe. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { cleanEnvironment } from "./demo.ts";
import { findTool } from "./tools.ts";

const TOOL = findTool("go-peer");
export const GO_PEER_MISSING: readonly string[] =
  TOOL === undefined ? ["go-peer"] : [];

export interface GoServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Flags of the program by their names, without the dashes. */
export type Flags = Readonly<Record<string, string>>;

/** Runs a command of it; gives the JSON that it prints, and throws what it says where it fails. */
export async function goPeer<T>(command: string, flags: Flags): Promise<T> {
  try {
    const { stdout } = await promisify(execFile)(tool(), argv(command, flags), {
      env: cleanEnvironment(),
      timeout: 20_000,
    });
    return JSON.parse(stdout) as T;
  } catch (thrown) {
    const { stderr } = thrown as { stderr?: string };
    throw new Error(stderr?.trim() ?? String(thrown), { cause: thrown });
  }
}

/** A server of it that takes callers of one SPIFFE ID. */
export async function goServer(flags: Flags): Promise<GoServer> {
  const child = spawn(tool(), argv("serve", flags), {
    env: cleanEnvironment(),
    stdio: ["pipe", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  const printed = once(createInterface({ input: child.stdout }), "line");
  const [line] = (await Promise.race([
    printed,
    gone.then(() => {
      throw new Error("the server in Go ended before it listened");
    }),
  ])) as [string];
  const { port } = JSON.parse(line) as { port: number };
  return {
    port,
    async stop() {
      child.stdin.end();
      await gone;
    },
  };
}

function tool(): string {
  if (TOOL === undefined)
    throw new Error("go-peer is missing: .ci/run installs it");
  return TOOL;
}

function argv(command: string, flags: Flags): string[] {
  return [
    command,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
  ];
}
