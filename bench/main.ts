/** `npm run bench [SCENARIO]`: measures beside the peers that it finds installed, alternated, and keeps the figures. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { systemClock, timestamp } from "../src/core/clock.ts";
import { messageOf, UserError } from "../src/core/errors.ts";
import { startCollector, startServer } from "./backends.ts";
import { makeCertificates } from "./certificates.ts";
import type { Found, Peer, PeerSettings } from "./peer.ts";
import { envoyPair } from "./peers/envoy.ts";
import { httpProxyPair } from "./peers/http-proxy.ts";
import { wherryPair } from "./peers/wherry.ts";
import { isInstalled } from "./processes.ts";
import { featureTable, markdown, reportOf, type PeerRuns } from "./report.ts";
import { runHop, type HopRun } from "./scenarios/hop.ts";

const RESULTS = fileURLToPath(new URL("results", import.meta.url));
const REFERENCE = "Envoy";
const USAGE =
  "npm run bench -- [hop] [--runs 3] [--seconds 8] [--connections 32] [--tracing 1] [--json] [--no-save]";

interface Options {
  readonly runs: number;
  readonly seconds: number;
  readonly connections: number;
  readonly tracing: number;
  readonly json: boolean;
  readonly save: boolean;
}

function readOptions(argv: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "3" },
      seconds: { type: "string", default: "8" },
      connections: { type: "string", default: "32" },
      tracing: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
      "no-save": { type: "boolean", default: false },
    },
  });
  const [scenario = "hop", ...rest] = positionals;
  if (scenario !== "hop" || rest.length > 0)
    throw new UserError(
      `there is no scenario "${positionals.join(" ")}"; ${USAGE}`,
    );
  const number = (
    name: "runs" | "seconds" | "connections" | "tracing",
    least: number,
  ): number => {
    const value = Number(values[name]);
    if (!(value >= least))
      throw new UserError(
        `--${name} ${values[name]}: a number of at least ${least} is wanted`,
      );
    return value;
  };
  return {
    runs: number("runs", 1),
    seconds: number("seconds", 1),
    connections: number("connections", 1),
    tracing: number("tracing", 0),
    json: values.json,
    save: !values["no-save"],
  };
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  for (const command of ["wrk", "nginx", "taskset"])
    if (!isInstalled(command))
      throw new UserError(
        `${command} is not installed: Debian's packages wrk, nginx and util-linux have what the benchmark needs`,
      );
  const directory = await mkdtemp(join(tmpdir(), "wherry-bench-"));
  // Two cores or more: the proxies have one for themselves, as a sidecar's limit would give them.
  const pinned = availableParallelism() >= 2;
  const cores = {
    proxies: pinned ? "1" : undefined,
    load: pinned ? "0" : undefined,
  };
  const settings: PeerSettings = {
    directory,
    tracing: options.tracing,
    core: cores.proxies,
    certificates: await makeCertificates(directory, systemClock),
  };
  const peers = presentPeers(
    [
      await wherryPair(settings),
      await envoyPair(settings),
      httpProxyPair(settings),
    ],
    say,
  );
  const collector = await startCollector();
  const server = await startServer(directory, cores.load, systemClock);
  try {
    const measured = await measure(peers, options, cores.load, say);
    await publish(measured, options);
  } finally {
    await server.stop();
    collector.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function presentPeers(
  found: readonly Found[],
  say: (text: string) => void,
): Peer[] {
  for (const each of found)
    if (each.kind === "missing") say(`without ${each.name}: ${each.why}`);
  return found.flatMap((each) => (each.kind === "peer" ? [each.peer] : []));
}

/** One run of each peer in turn, again and again: what disturbs the machine for a while disturbs them all. */
async function measure(
  peers: readonly Peer[],
  options: Options,
  loadCore: string | undefined,
  say: (text: string) => void,
): Promise<PeerRuns[]> {
  const runs = new Map<string, HopRun[]>(peers.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.runs; round += 1) {
    for (const peer of peers) {
      const run = await runHop(peer, {
        seconds: options.seconds,
        connections: options.connections,
        loadCore,
        clock: systemClock,
      });
      runs.get(peer.name)?.push(run);
      say(
        `run ${round}/${options.runs}  ${peer.name.padEnd(12)} ${(run.outboundCpu + run.inboundCpu).toFixed(1).padStart(7)} µs a request, ${run.requestsASecond.toFixed(0)} requests/s, p99 ${run.p99.toFixed(2)} ms`,
      );
    }
  }
  return peers.map((peer) => ({ peer, runs: runs.get(peer.name) ?? [] }));
}

async function publish(
  measured: readonly PeerRuns[],
  options: Options,
): Promise<void> {
  const reports = reportOf(measured, REFERENCE);
  const result = {
    scenario: "hop",
    date: timestamp(systemClock.wall()),
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      kernel: release(),
      node: process.version,
    },
    options: {
      runs: options.runs,
      seconds: options.seconds,
      connections: options.connections,
      tracing: options.tracing,
    },
    peers: reports,
    runs: measured.map(({ peer, runs }) => ({ name: peer.name, runs })),
  };
  const json = `${JSON.stringify(result, undefined, 2)}\n`;
  const text = `# hop, ${result.date}

${result.machine.cpu}, ${result.machine.cores} cores, Linux ${result.machine.kernel}, Node ${result.machine.node}. H1 callers and server, HTTP/2 over mTLS between
the proxies; ${options.connections} connections closed loop, ${options.seconds} s a run, ${options.runs} runs each, alternated; ${options.tracing} % traced. Medians, lowest and highest in parentheses.

${markdown(reports, REFERENCE)}
What was on:

\`\`\`
${featureTable(reports, REFERENCE)}\`\`\`
`;
  process.stdout.write(options.json ? json : text);
  if (!options.save) return;
  await mkdir(RESULTS, { recursive: true });
  const name = join(
    RESULTS,
    `hop-${result.date.slice(0, 10)}-tracing-${options.tracing}`,
  );
  await writeFile(`${name}.json`, json);
  await writeFile(`${name}.md`, text);
}

try {
  await main();
} catch (error) {
  process.stderr.write(
    `${error instanceof UserError ? error.message : error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`,
  );
  process.exitCode = 1;
}
