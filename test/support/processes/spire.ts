/** A SPIRE server and its agent as processes, in a trust domain of their own: what an operator does at them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../../src/demo/free-port.ts";
import { eventually } from "../peers/call.ts";
import { cleanEnvironment } from "./demo.ts";
import { findTool } from "./tools.ts";

const SERVER = findTool("spire-server") ?? "";
const AGENT = findTool("spire-agent") ?? "";
export const SPIRE_MISSING: readonly string[] = [
  ...(SERVER === "" ? ["spire-server"] : []),
  ...(AGENT === "" ? ["spire-agent"] : []),
];

/** The first start makes keys and a database. */
const WITHIN = 60_000;

/** Files of PEM, and how many roots the last of them has. */
export interface SvidFiles {
  readonly certificate: string;
  readonly key: string;
  readonly bundle: string;
  readonly roots: number;
}

export interface Spire {
  /** "unix:///…/agent.sock" */
  readonly workloadApi: string;
  /** Whatever runs `program` is given `id`, for so many seconds at a time. */
  register(id: string, program: string, seconds: number): Promise<void>;
  /** What the agent gives its own command, which is registered by `agentProgram`. */
  fetch(): Promise<SvidFiles>;
  /** Does something with an authority that it has, or makes one; gives its name. */
  authority(
    act: "prepare" | "activate" | "taint" | "revoke",
    id?: string,
  ): Promise<string>;
  /** The authority that signs. */
  signing(): Promise<string>;
  readonly agentProgram: string;
  killAgent(): Promise<void>;
  startAgent(): Promise<void>;
  close(): Promise<void>;
}

export async function startSpire(trustDomain: string): Promise<Spire> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-spire-"));
  const file = (name: string): string => join(directory, name);
  const port = await freePort();
  for (const name of ["server", "agent"]) await mkdir(file(name));
  await writeFile(file("server.conf"), serverConfig(file, trustDomain, port));
  await writeFile(file("agent.conf"), agentConfig(file, trustDomain, port));
  const server = start(SERVER, ["run", "-config", file("server.conf")]);
  let agent: Started | undefined;
  const ask = (...args: string[]): Promise<string> =>
    run(SERVER, ...args, "-socketPath", file("server.sock"));
  const close = async (): Promise<void> => {
    await agent?.kill();
    await server.kill();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilHealthy(SERVER, file("server.sock"));
    await writeFile(file("bundle.pem"), await ask("bundle", "show"));
    const { value: token } = JSON.parse(
      await ask("token", "generate", "-output", "json"),
    ) as { readonly value: string };
    const startAgent = async (): Promise<void> => {
      const config = ["-config", file("agent.conf"), "-joinToken", token];
      agent = start(AGENT, ["run", ...config]);
      await untilHealthy(AGENT, file("agent.sock"));
    };
    await startAgent();
    return {
      workloadApi: `unix://${file("agent.sock")}`,
      agentProgram: AGENT,
      fetch: () => fetchSvid(file),
      ...commands(ask, joined(trustDomain, token)),
      killAgent: async () => agent?.kill(),
      ...{ startAgent, close },
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** What is asked of the server. `agent`: its ID. */
function commands(
  ask: (...args: string[]) => Promise<string>,
  agent: string,
): Pick<Spire, "register" | "authority" | "signing"> {
  return {
    async register(id, program, seconds) {
      await ask(
        ...["entry", "create", "-spiffeID", id],
        ...["-parentID", agent],
        ...["-selector", `unix:path:${program}`],
        ...["-x509SVIDTTL", String(seconds)],
      );
    },
    async authority(act, id) {
      const which = id === undefined ? [] : ["-authorityID", id];
      const said = await ask(...AUTHORITY, act, ...which, "-output", "json");
      const [authority] = Object.values(
        JSON.parse(said) as Record<string, { authority_id: string }>,
      );
      return authority?.authority_id ?? "";
    },
    async signing() {
      const said = await ask(...AUTHORITY, "show", "-output", "json");
      const { active } = JSON.parse(said) as {
        readonly active: { readonly authority_id: string };
      };
      return active.authority_id;
    },
  };
}

const AUTHORITY = ["localauthority", "x509"] as const;

/** In a folder of its own: those of before stay. */
async function fetchSvid(file: (name: string) => string): Promise<SvidFiles> {
  const fetched = await mkdtemp(file("fetched-"));
  await eventually(
    "the agent knows of the entry",
    WITHIN,
    () =>
      run(
        ...([AGENT, "api", "fetch", "x509", "-write", fetched] as const),
        ...["-socketPath", file("agent.sock")],
      ).catch(() => undefined),
    (said) => said !== undefined,
  );
  const bundle = join(fetched, "bundle.0.pem");
  return {
    certificate: join(fetched, "svid.0.pem"),
    key: join(fetched, "svid.0.key"),
    bundle,
    roots: (await readFile(bundle, "utf8")).split("BEGIN").length - 1,
  };
}

const joined = (trustDomain: string, token: string): string =>
  `spiffe://${trustDomain}/spire/agent/join_token/${token}`;

function serverConfig(
  file: (name: string) => string,
  trustDomain: string,
  port: number,
): string {
  return `server {
  bind_address = "127.0.0.1"
  bind_port = "${port}"
  socket_path = "${file("server.sock")}"
  trust_domain = "${trustDomain}"
  data_dir = "${file("server")}"
  log_level = "ERROR"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${file("server/db.sqlite3")}" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`;
}

/** The agent's own key is kept: with it a new process goes on as the one before. */
function agentConfig(
  file: (name: string) => string,
  trustDomain: string,
  port: number,
): string {
  return `agent {
  server_address = "127.0.0.1"
  server_port = "${port}"
  socket_path = "${file("agent.sock")}"
  trust_domain = "${trustDomain}"
  trust_bundle_path = "${file("bundle.pem")}"
  data_dir = "${file("agent")}"
  log_level = "FATAL"
  experimental { sync_interval = "1s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "${file("agent")}" } }
  WorkloadAttestor "unix" { plugin_data { discover_workload_path = true workload_size_limit = -1 } }
}
`;
}

interface Started {
  kill(): Promise<void>;
}

function start(program: string, args: readonly string[]): Started {
  const child = spawn(program, args, {
    env: cleanEnvironment(),
    stdio: ["ignore", "ignore", "inherit"],
  });
  const gone = once(child, "exit");
  return {
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

async function run(program: string, ...args: string[]): Promise<string> {
  const options = { env: cleanEnvironment(), timeout: WITHIN };
  return (await promisify(execFile)(program, args, options)).stdout;
}

async function untilHealthy(program: string, socket: string): Promise<void> {
  await eventually(
    `${program} is up`,
    WITHIN,
    () =>
      run(program, "healthcheck", "-socketPath", socket).catch(() => undefined),
    (said) => said !== undefined,
  );
}
