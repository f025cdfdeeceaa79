/**
 * `node bench/balance/main.ts`: balancing of real sidecars, and of Envoy, over loopback. Makes passes that are missing until
 * `--budget` seconds are over and keeps each in bench/results/balance.json, so that a campaign can be made in pieces.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { readArguments, readNumber, readWhole, runMain } from "../arguments.ts";
import { makeCertificates } from "../certificates.ts";
import { endAll, start, type Running } from "../processes.ts";
import { findProgram } from "../tools.ts";
import { REPLICAS, SCENARIOS } from "../simulate/scenarios.ts";
import {
  ARMS,
  clientCommand,
  writeEndpoints,
  writeResources,
  type ArmFiles,
} from "./arms.ts";
import {
  keepMade,
  left,
  plan,
  readMade,
  table,
  type Made,
  type Pass,
} from "./campaign.ts";
import {
  ALL_REPLICAS,
  CLIENT_PORTS,
  CLIENTS,
  CONTROL_PORT,
  DEADLINE,
  HOST,
  MEAN_DEMAND,
  rateAt,
  SLOTS,
} from "./layout.ts";
import { run } from "./load.ts";

/** Share of all cores above which a pass does not count. */
const MOST_CPU = 0.5;
const RESULTS = join(import.meta.dirname, "..", "results");

const USAGE = `node bench/balance/main.ts [options]

  --scenarios A,B      only these
  --arms A,B           only these balancers
  --repeats 5          of each scenario and arm
  --seconds 30         of load in a pass
  --budget 80          seconds for all passes; again, until no pass is left
  --results FILE       where the passes are kept
`;

async function main(): Promise<void> {
  const { values } = readArguments(
    process.argv.slice(2),
    {
      scenarios: { type: "string" },
      arms: { type: "string" },
      repeats: { type: "string", default: "5" },
      seconds: { type: "string", default: "30" },
      budget: { type: "string", default: "80" },
      results: { type: "string", default: join(RESULTS, "balance.json") },
    },
    USAGE,
  );
  const scenarios = chosen(
    "--scenarios",
    values.scenarios,
    SCENARIOS.map(({ name }) => name),
  );
  const arms = chosen(
    "--arms",
    values.arms,
    ARMS.filter(
      ({ proxy }) => proxy !== "Envoy" || findProgram("envoy") !== undefined,
    ).map(({ name }) => name),
  );
  const duration = 1000 * readNumber("seconds", values.seconds, 1);
  const made = readMade(values.results);
  const passes = left(
    plan(scenarios, arms, readWhole("repeats", values.repeats, 1)),
    made,
  );
  const until =
    systemClock.now() + 1000 * readNumber("budget", values.budget, 0);
  let done = 0;
  for (const pass of passes) {
    // A pass is begun only if it can be over in time, by what they take at least.
    if (done > 0 && systemClock.now() + duration + WARM_UP + 6000 > until)
      break;
    const one = await measure(pass, duration);
    done += 1;
    const counts = one.cpu <= MOST_CPU;
    process.stderr.write(
      `${pass.scenario}, ${pass.arm}, ${pass.repeat}: p99 ${one.result.p99.toFixed(0)} ms, errors ${(100 * one.result.errors).toFixed(2)} %, CPU ${(100 * one.cpu).toFixed(0)} %${counts ? "" : ": does not count"}\n`,
    );
    if (!counts) continue;
    made.push(one);
    await keepMade(values.results, made);
  }
  const setting = [
    `${CLIENTS} callers' proxies, ${REPLICAS} replicas of ${SLOTS} slots that wait ${MEAN_DEMAND} ms in the mean (lognormal), open-loop Poisson arrivals, deadline ${DEADLINE} ms (a failure counts as that), no retries of statuses,`,
    `${WARM_UP / 1000} s of warming up, then ${duration / 1000} s; one policy at a time, in an order by chance; passes in which the machine was more than half busy are left out. Medians, least to most.`,
    "Wherry's calls cross two sidecars over mutual TLS, Envoy's one proxy in plaintext.",
  ];
  const text = table(made, setting);
  await writeFile(values.results.replace(/\.json$/, ".md"), text);
  process.stdout.write(
    `${text}\n${passes.length - done} of ${passes.length} passes are left\n`,
  );
}

const WARM_UP = 10_000;

function chosen(
  option: string,
  text: string | undefined,
  all: readonly string[],
): readonly string[] {
  if (text === undefined) return all;
  return text.split(",").map((name) => {
    const known = all.find((each) => each === name.trim());
    if (known === undefined)
      throw new UserError(`${option} ${name}: there are ${all.join(", ")}`);
    return known;
  });
}

async function measure(pass: Pass, duration: number): Promise<Made> {
  const arm = ARMS.find(({ name }) => name === pass.arm);
  const scenario = SCENARIOS.find(({ name }) => name === pass.scenario);
  if (arm === undefined || scenario === undefined)
    throw new UserError(`there is no pass ${pass.scenario}, ${pass.arm}`);
  const directory = await mkdtemp(join(tmpdir(), "wherry-balance-"));
  const running: Running[] = [];
  try {
    const files: ArmFiles = {
      directory,
      resources: join(directory, "resources.yaml"),
      endpoints: join(directory, "endpoints.json"),
      calleeResources: join(directory, "callees.yaml"),
      certificates: await makeCertificates(directory, systemClock),
    };
    const settings = arm.proxy === "Wherry" ? arm.settings : {};
    const tell = async (replicas: number): Promise<void> => {
      await writeResources(files.resources, settings, replicas);
      await writeEndpoints(files.endpoints, replicas);
    };
    await writeResources(files.calleeResources, settings, ALL_REPLICAS);
    await tell(REPLICAS);
    running.push(await startBackend(files));
    for (let index = 0; index < CLIENTS; index += 1)
      running.push(
        await start(await clientCommand(arm, index, files), systemClock),
      );
    for (const port of CLIENT_PORTS) await untilServed(port);
    const before = spent(running);
    const since = systemClock.now();
    await begin(pass);
    const { joining, counted } = scenario;
    const [result] = await Promise.all([
      run({
        rate: rateAt(scenario.load),
        seed: 100 * pass.repeat,
        warmUp: counted?.from ?? WARM_UP,
        duration: counted === undefined ? duration : counted.to - counted.from,
      }),
      joining === undefined
        ? undefined
        : wait(systemClock, joining.at, new AbortController().signal).then(() =>
            tell(ALL_REPLICAS),
          ),
    ]);
    const cpu =
      (1000 * (spent(running) - before)) /
      (systemClock.now() - since) /
      availableParallelism();
    return { ...pass, result, cpu };
  } finally {
    for (const each of running) await each.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

function startBackend({
  calleeResources,
  certificates: { root, callee },
}: ArmFiles): Promise<Running> {
  return start(
    {
      name: "the replicas",
      command: process.execPath,
      args: [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "backend.ts"),
        ...["--resources", calleeResources, "--trust-bundle", root],
        ...["--certificate", callee.certificate, "--private-key", callee.key],
      ],
      port: CONTROL_PORT,
    },
    systemClock,
  );
}

/** CPU seconds of all processes, this one that makes the load among them. */
function spent(running: readonly Running[]): number {
  const { user, system } = process.cpuUsage();
  return running.reduce(
    (sum, each) => sum + each.cpu(),
    (user + system) / 1_000_000,
  );
}

/** Tells the replicas what goes wrong, from now on. */
function begin({ scenario, repeat }: Pass): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        port: CONTROL_PORT,
        method: "POST",
        path: `/begin?scenario=${scenario}&seed=${repeat}`,
      },
      (response) => {
        response.resume();
        response.on("end", () =>
          response.statusCode === 200
            ? resolve()
            : reject(new UserError(`the replicas do not know ${scenario}`)),
        );
      },
    );
    call.on("error", reject);
    call.end();
  });
}

async function untilServed(port: number): Promise<void> {
  const until = systemClock.now() + 10_000;
  while (!(await isServed(port))) {
    if (systemClock.now() > until)
      throw new UserError(`no answer through the proxy on ${port}`);
    await wait(systemClock, 50, new AbortController().signal);
  }
}

function isServed(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(
      {
        host: "127.0.0.1",
        port,
        headers: { host: HOST },
        agent: false,
      },
      (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      },
    );
    call.on("error", () => resolve(false));
    call.end();
  });
}

process.on("SIGINT", () => {
  endAll();
  process.exitCode = 130;
});

await runMain(main);
