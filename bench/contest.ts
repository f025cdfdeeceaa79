/**
 * Runs one scenario: each contender in turn, again and again, so that what disturbs the machine for a while disturbs them all. Every
 * second round has the other order: who runs first in a round often costs a few percent more.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../src/core/clock.ts";
import { UserError } from "../src/core/errors.ts";
import type { Application } from "./application.ts";
import type { Collector } from "./collector.ts";
import { FIGURES } from "./figures.ts";
import type { Options } from "./options.ts";
import type { Certificates, Feature, Peer, PeerSettings } from "./peer.ts";
import { makePair } from "./peers.ts";
import {
  nameOf,
  type Contender,
  type Run,
  type Scenario,
  type Stage,
} from "./scenario.ts";
import { CORES } from "./versions.ts";

/** What all scenarios of one command share. */
export interface Surroundings {
  readonly directory: string;
  readonly dist: string;
  readonly certificates: Certificates;
  readonly collector: Collector;
  readonly application: Application;
  readonly options: Options;
  readonly clock: Clock;
  readonly say: (text: string) => void;
}

export interface Entry {
  readonly name: string;
  readonly version: string;
  readonly features: readonly Feature[];
  readonly runs: readonly Run[];
  /** Why there is a run less; the last reason where there are several. */
  readonly failure?: string;
}

interface Ready {
  readonly name: string;
  readonly peer: Peer;
  readonly stage: Stage;
  readonly runs: Run[];
  failure: string | undefined;
}

export async function contest(
  scenario: Scenario,
  around: Surroundings,
): Promise<Entry[]> {
  const { options, say } = around;
  say(`${scenario.name}: ${scenario.title}`);
  await around.application.speak(scenario.setup.apps);
  const ready = await enter(scenario, around);
  for (let round = 1; round <= options.runs; round += 1) {
    for (const each of round % 2 === 0 ? ready.toReversed() : ready) {
      const told = await runOnce(scenario, each);
      say(`  ${round}/${options.runs}  ${each.name.padEnd(18)} ${told}`);
    }
  }
  return ready.map(({ name, peer, runs, failure }) => ({
    name,
    version: peer.version,
    features: [...peer.features],
    runs,
    ...(failure === undefined ? {} : { failure }),
  }));
}

/** A run that fails is told of, and gives no figures; the others do. */
async function runOnce(scenario: Scenario, each: Ready): Promise<string> {
  try {
    const run = await scenario.run(each.stage);
    each.runs.push(run);
    return inOneLine(run);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    each.failure = error.message;
    return `has no figures: ${error.message}`;
  }
}

/** The contenders that are installed and can do what the scenario asks. */
async function enter(
  scenario: Scenario,
  around: Surroundings,
): Promise<Ready[]> {
  const { options } = around;
  const cores = coresOf(scenario, options);
  const ready: Ready[] = [];
  for (const contender of withSecond(scenario.contenders, options.beside)) {
    if (!options.peers.includes(contender.peer)) continue;
    const name = nameOf(contender);
    const directory = join(
      around.directory,
      `${scenario.name}-${ready.length}`,
    );
    await mkdir(directory, { recursive: true });
    const settings: PeerSettings = {
      ...scenario.setup,
      ...contender.setup,
      directory,
      cores: cores.proxies,
      certificates: around.certificates,
      dist: contender.dist ?? around.dist,
    };
    const found = await makePair(contender.peer, settings);
    if (found.kind === "missing") {
      around.say(`  without ${name}: ${found.why}`);
      continue;
    }
    const { peer } = found;
    const stage: Stage = {
      peer,
      settings,
      clock: around.clock,
      collector: around.collector,
      application: around.application,
      seconds: options.seconds,
      warmUp: options.warmUp,
      minutes: options.minutes,
      connections: options.connections,
      loadCore: cores.load,
    };
    ready.push({ name, peer, stage, runs: [], failure: undefined });
  }
  return ready;
}

/** A second built package of ours, wherever ours takes part. */
function withSecond(
  contenders: readonly Contender[],
  dist: string | undefined,
): readonly Contender[] {
  if (dist === undefined) return contenders;
  return contenders.flatMap((contender) =>
    contender.peer === "Wherry"
      ? [
          contender,
          {
            ...contender,
            dist,
            label: ["beside", contender.label ?? ""].join(" ").trim(),
          },
        ]
      : [contender],
  );
}

/**
 * With two cores or more the proxies have one for themselves and the load the other: that is a sidecar's usual lot. Undefined: as this
 * process has it, which goes to where the load is. So all cores have to be said where all are meant.
 */
export function coresOf(
  scenario: Pick<Scenario, "cores">,
  options: Pick<Options, "pinned">,
): { proxies: string | undefined; load: string | undefined } {
  if (!options.pinned || CORES < 2)
    return { proxies: undefined, load: undefined };
  if (scenario.cores !== "shared") return { proxies: "1", load: "0" };
  const all = `0-${CORES - 1}`;
  return { proxies: all, load: all };
}

function inOneLine(run: Run): string {
  return (Object.keys(FIGURES) as (keyof typeof FIGURES)[])
    .flatMap((figure) => {
      const value = run[figure];
      const { title, digits } = FIGURES[figure];
      return value === undefined ? [] : [`${title} ${value.toFixed(digits)}`];
    })
    .join(", ");
}
