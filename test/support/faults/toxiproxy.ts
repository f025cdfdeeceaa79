/** toxiproxy, a process of its own between two ends of a TCP connection: what networks do to connections, done on demand. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { call, eventually } from "../peers/call.ts";
import { listening } from "../meshes/pair.ts";
import { findTool, needs } from "../processes/tools.ts";

const TOOL = findTool("toxiproxy-server");

/** Options of a test that needs it. */
export const needsToxiproxy: ReturnType<typeof needs> = needs(
  TOOL === undefined ? ["toxiproxy-server"] : [],
);

/**
 * What is done to each connection, in the direction of its octets: `limit_data` ends it after so many octets, `reset_peer` by RST
 * after so many milliseconds, `timeout` lets nothing through and ends it after so many milliseconds, `slicer` cuts up what it passes on.
 */
export type Toxic =
  | { readonly type: "limit_data"; readonly bytes: number }
  | { readonly type: "reset_peer" | "timeout"; readonly timeout: number }
  | { readonly type: "slicer"; readonly average_size: number };

/** ``` callers ──▶ port ──toxic──▶ upstream ``` */
export interface FaultyHop {
  readonly port: number;
  /** Breaks every connection and takes no other until `mend`. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  /**
   * New connections have it, the open ones break; at most one at a time. "upstream" is from the caller on. toxiproxy can take
   * a toxic from an open connection, but then waits for ever where that connection ends in the same moment, with all new ones
   * behind it (2.12, `ToxicCollection.RemoveToxic`): so the proxy is replaced.
   */
  poison(toxic: Toxic, direction: "upstream" | "downstream"): Promise<void>;
  /** Takes the toxic off; the open connections break. */
  calm(): Promise<void>;
  /** Leads new connections to another port; the open ones break. */
  leadTo(upstream: number): Promise<void>;
}

export interface Toxiproxy {
  hop(name: string, upstream: number): Promise<FaultyHop>;
  stop(): Promise<void>;
}

export async function startToxiproxy(): Promise<Toxiproxy> {
  if (TOOL === undefined)
    throw new Error("toxiproxy-server is missing: .ci/run installs it");
  const holder = createServer();
  const port = await listening(holder);
  await new Promise((resolve) => holder.close(resolve));
  const child = spawn(TOOL, ["-host", "127.0.0.1", "-port", String(port)], {
    stdio: "ignore",
  });
  const gone = new Promise<void>((resolve) =>
    child.once("exit", () => resolve()),
  );
  const api = `http://127.0.0.1:${port}`;
  await eventually(
    "toxiproxy answers",
    10_000,
    () => call(`${api}/version`),
    ({ status }) => status === 200,
  );
  return {
    hop: (name, upstream) => makeHop(api, name, upstream),
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

async function makeHop(
  api: string,
  name: string,
  firstUpstream: number,
): Promise<FaultyHop> {
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<string> => {
    const { status, text } = await call(`${api}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (status >= 200 && status < 300) return text;
    throw new Error(`toxiproxy: ${method} ${path}: ${status} ${text}`);
  };
  const address = (port: number): string => `127.0.0.1:${port}`;
  let upstream = firstUpstream;
  let generation = 0;
  let poisoned = false;
  const begin = async (
    listen: string,
    toxic?: Record<string, unknown>,
  ): Promise<string> => {
    generation += 1;
    const { listen: taken } = JSON.parse(
      await ask("POST", "/proxies", {
        name: `${name}-${generation}`,
        listen,
        upstream: address(upstream),
        enabled: toxic === undefined,
      }),
    ) as { readonly listen: string };
    if (toxic === undefined) return taken;
    await ask("POST", `${self()}/toxics`, toxic);
    await change({ enabled: true });
    return taken;
  };
  const self = (): string => `/proxies/${name}-${generation}`;
  const change = async (to: unknown): Promise<void> => {
    await ask("POST", self(), to);
  };
  const listen = await begin(address(0));
  const replace = async (toxic?: Record<string, unknown>): Promise<void> => {
    await ask("DELETE", self());
    await begin(listen, toxic);
    poisoned = toxic !== undefined;
  };
  return {
    port: Number(listen.split(":").at(-1)),
    cut: () => change({ enabled: false }),
    mend: () => change({ enabled: true }),
    poison: ({ type, ...attributes }, stream) =>
      replace({ name: "fault", type, stream, attributes }),
    async calm() {
      if (poisoned) await replace();
    },
    async leadTo(port) {
      upstream = port;
      await change({ upstream: address(port) });
    },
  };
}
