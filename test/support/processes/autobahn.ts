/** Autobahn, the conformance suite of WebSocket: a peer that sends what it should not, and one that repeats what comes. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { eventually } from "../peers/call.ts";
import { cleanEnvironment } from "./demo.ts";
import { findTool } from "./tools.ts";

const TOOL = findTool("autobahn/bin/wstest") ?? "";
export const AUTOBAHN_MISSING: readonly string[] =
  TOOL === "" ? ["wstest"] : [];

/** Sections 1 to 7 and 10. What takes minutes is left out: great messages (9) and compression (12, 13), which AUTOBAHN=* adds. */
export const ALL_CASES: readonly string[] = process.env["AUTOBAHN"]?.split(
  ",",
) ?? ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
const WITHIN = 60_000;
/**
 * The suite's own command with its waits so many times as long as the first argument says: from half a second after the handshake on, it
 * ends what is open and calls that a failure.
 */
const PATIENT = `
import sys
from autobahntestsuite import wstest
from twisted.internet import reactor
patience = float(sys.argv.pop(1))
later = reactor.callLater
reactor.callLater = lambda delay, *call, **named: later(delay * patience, *call, **named)
sys.exit(wstest.run())`;

export interface Daemon {
  readonly port: number;
  stop(): Promise<void>;
}

/** What one case came to, as far as it is not a matter of time or of how bytes were cut into packets. */
export type Result = Readonly<Record<string, unknown>>;

const COMPARED: readonly string[] = [
  ...["behavior", "behaviorClose", "result", "resultClose", "received"],
  ...["closedByMe", "failedByMe", "wasClean", "wasNotCleanReason"],
  ...["localCloseCode", "localCloseReason"],
  ...["remoteCloseCode", "remoteCloseReason"],
  ...["rxFrameStats", "txFrameStats"],
];

/** The peer under test as a server. */
export function startRepeater(port: number, patience: number): Promise<Daemon> {
  return start(port, patience, [
    "-m",
    "testeeserver",
    "-w",
    `ws://127.0.0.1:${port}`,
  ]);
}

/** The suite as a server, which writes what it found of each client into `directory`. */
export async function startFuzzer(
  port: number,
  directory: string,
  cases: readonly string[],
  patience: number,
): Promise<Daemon> {
  const spec = { url: `ws://127.0.0.1:${port}`, outdir: directory, cases };
  const file = await writeSpec(directory, spec);
  return start(port, patience, ["-m", "fuzzingserver", "-s", file, "-u", "0"]);
}

/** The suite as a client of the servers at these ports, by their names. */
export async function fuzz(
  ports: Readonly<Record<string, number>>,
  directory: string,
  cases: readonly string[],
  patience: number,
): Promise<void> {
  const servers = Object.entries(ports).map(([agent, port]) => ({
    agent,
    url: `ws://127.0.0.1:${port}`,
  }));
  const file = await writeSpec(directory, {
    servers,
    outdir: directory,
    cases,
  });
  await run(patience, ["-m", "fuzzingclient", "-s", file]);
}

/** The peer under test as a client of a fuzzer. */
export function beFuzzed(
  agent: string,
  port: number,
  patience: number,
): Promise<void> {
  const url = `ws://127.0.0.1:${port}`;
  return run(patience, ["-m", "testeeclient", "-w", url, "-i", agent]);
}

/**
 * Its servers refuse a Host whose port is not their own, which is that of the listener that the client knows: a change of the request's
 * head on its last stretch, behind both sidecars.
 */
export function hostOfServer(port: number): Transform {
  let head: Buffer | undefined = Buffer.alloc(0);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (head === undefined) {
        done(null, chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) {
        done();
        return;
      }
      const text = head.toString("latin1", 0, end);
      const own = text.replace(/^(host: .*:)[0-9]+$/im, `$1${port}`);
      const all = [Buffer.from(own, "latin1"), head.subarray(end)];
      head = undefined;
      done(null, Buffer.concat(all));
    },
  });
}

/** By case: what the suite says of it in its reports of this agent. */
export async function resultsOf(
  agent: string,
  directory: string,
): Promise<ReadonlyMap<string, Result>> {
  const index = JSON.parse(
    await readFile(join(directory, "index.json"), "utf8"),
  ) as Record<string, Record<string, { readonly reportfile: string }>>;
  const results = new Map<string, Result>();
  for (const [id, { reportfile }] of Object.entries(index[agent] ?? {})) {
    const report = JSON.parse(
      await readFile(join(directory, reportfile), "utf8"),
    ) as Record<string, unknown>;
    const compared = COMPARED.map((name) => [name, report[name]]);
    results.set(id, Object.fromEntries(compared) as Result);
  }
  return results;
}

async function writeSpec(directory: string, spec: object): Promise<string> {
  const file = join(directory, "spec.json");
  const all = { ...spec, "exclude-cases": [], "exclude-agent-cases": {} };
  await writeFile(file, JSON.stringify(all));
  return file;
}

function spawnTool(patience: number, args: readonly string[]): ChildProcess {
  return spawn(
    join(dirname(TOOL), "python"),
    ["-c", PATIENT, String(patience), ...args],
    { env: cleanEnvironment(), stdio: ["ignore", "ignore", "inherit"] },
  );
}

async function run(patience: number, args: readonly string[]): Promise<void> {
  const child = spawnTool(patience, args);
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}`);
}

async function start(
  port: number,
  patience: number,
  args: readonly string[],
): Promise<Daemon> {
  const child = spawnTool(patience, args);
  const gone = once(child, "exit");
  await eventually(
    `${args.join(" ")} listens`,
    WITHIN,
    () => accepts(port),
    (is) => {
      if (child.exitCode !== null) throw new Error("it has ended");
      return is;
    },
  );
  return {
    port,
    async stop() {
      child.kill();
      await gone;
    },
  };
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
