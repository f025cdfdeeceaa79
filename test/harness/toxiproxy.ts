/** toxiproxy, a process of its own between two ends of a TCP connection: what networks do to connections, done on demand. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { call, eventually } from "./call.ts";
import { listening } from "./pair.ts";
import { findTool, needs } from "./tools.ts";

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
  /** At most one at a time; open connections have it too. "upstream" is from the caller on. */
  poison(toxic: Toxic, direction: "upstream" | "downstream"): Promise<void>;
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
  upstream: number,
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
  const made = JSON.parse(
    await ask("POST", "/proxies", {
      name,
      listen: address(0),
      upstream: address(upstream),
      enabled: true,
    }),
  ) as { readonly listen: string };
  const self = `/proxies/${name}`;
  const change = async (to: unknown): Promise<void> => {
    await ask("POST", self, to);
  };
  let poisoned = false;
  const calm = async (): Promise<void> => {
    if (!poisoned) return;
    poisoned = false;
    await ask("DELETE", `${self}/toxics/fault`);
  };
  return {
    port: Number(made.listen.split(":").at(-1)),
    cut: () => change({ enabled: false }),
    mend: () => change({ enabled: true }),
    async poison({ type, ...attributes }, stream) {
      await calm();
      await ask("POST", `${self}/toxics`, {
        name: "fault",
        type,
        stream,
        attributes,
      });
      poisoned = true;
    },
    calm,
    leadTo: (port) => change({ upstream: address(port) }),
  };
}
