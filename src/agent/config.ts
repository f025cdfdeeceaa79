/** The config in force: compiled, swapped whole, or refused whole with what was there left serving (life of a change). */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { PacedWork } from "../core/paced-work.ts";
import { isPersistent } from "../core/persistent/map.ts";
import { inSlices, pauses, type Steps } from "../core/slices.ts";
import type { WallMs } from "../core/units.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import { type SelfDescription, type Snapshot } from "../policy/snapshot.ts";
import {
  compileDifference,
  compileSteps,
  type CompileOptions,
} from "../policy/compile/compile.ts";
import type { Difference } from "../policy/compile/held/stock.ts";
import type { Revision } from "../push/messages.ts";
import { formatKey, keyOf, type Resource } from "../resources/envelope.ts";
import type { Peers } from "./agent.ts";
import type { KeptConfig } from "./kept-config.ts";
import { revisionFault } from "./revision.ts";
import type { ReceivedResources } from "./staging.ts";

/** Bytes of a config beyond which it is refused, where nothing else is said. */
export const MAX_CONFIG_BYTES: number = 64 * 1024 * 1024;

type Run = <T>(steps: Steps<T>) => Promise<T>;

export interface Config {
  readonly snapshot: Watch<Snapshot | undefined>;
  /** What the snapshot was compiled from. */
  readonly current: KeptConfig | undefined;
  /** Resolves once it is in force, or with the reason where it cannot be. One after the other, in the order of the calls. */
  take(config: KeptConfig, self: SelfDescription): Promise<string | undefined>;
  /** The same for a push, which has to come from the store that is followed. */
  push(
    revision: Revision,
    resources: ReceivedResources,
    self: SelfDescription,
    receivedAt: WallMs,
  ): Promise<string | undefined>;
}

/** `work`: puts pushes in force at its pace, and learns when there is a config that serves calls. */
export function makeConfig(
  clock: Clock,
  peers?: Peers,
  work?: PacedWork,
): Config {
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  let current: KeptConfig | undefined;
  const inTurn = oneByOne();
  const atOnce: Run = (steps) => inSlices(steps, pauses(clock));
  const paced: Run = work === undefined ? atOnce : (steps) => work.run(steps);

  const putInForce = async (
    config: KeptConfig,
    self: SelfDescription,
    run: Run,
  ): Promise<string | undefined> => {
    const { version } = config;
    // A push of results alone changes nothing of what is compiled: no subscriber has anything to do.
    if (
      config.resources === current?.resources &&
      JSON.stringify(self) === JSON.stringify(snapshot.value?.self)
    ) {
      current = config;
      return undefined;
    }
    try {
      // Compiled to the end before anything changes: no request ever sees half of a config. Between the slices requests are served.
      const options: CompileOptions = {
        previous: snapshot.value,
        // By the part that received them: staging, the files' lint, or the start that read them from disk. They are the config's alone.
        validated: true,
        owned: true,
      };
      const known = differenceOf(current?.resources, config.resources);
      const { snapshot: compiled, difference } = await run(
        known === undefined
          ? compileSteps(resourcesOf(config), self, version, options)
          : compileDifference(known, self, version, options),
      );
      const refused = await peers?.compile({ difference, self, version });
      if (refused !== undefined) return refused;
      current = config;
      snapshot.set(compiled);
      work?.begin();
      await peers?.swap();
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  };

  return {
    snapshot,
    get current() {
      return current;
    },
    take: (config, self) => inTurn(() => putInForce(config, self, atOnce)),
    push: (revision, resources, self, receivedAt) =>
      inTurn(async () => {
        const { store, revision: number, digest, branch = "" } = revision;
        const known = { store, revision: number, digest };
        const version = branch === "" ? known : { ...known, branch };
        return (
          revisionFault(current?.version, revision) ??
          (await putInForce({ version, receivedAt, resources }, self, paced))
        );
      }),
  };
}

type Work = () => Promise<string | undefined>;

/** Runs works one after the other, in the order of the calls. They may not reject. */
function oneByOne(): (work: Work) => ReturnType<Work> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done;
    return done;
  };
}

function* resourcesOf({ resources }: KeptConfig): Generator<Resource> {
  for (const { resource } of resources.values()) yield resource;
}

/** Undefined where it takes a look at all of them. */
function differenceOf(
  before: ReceivedResources | undefined,
  after: ReceivedResources,
): Difference | undefined {
  if (before === undefined || !isPersistent(before) || !isPersistent(after))
    return undefined;
  const changed: Resource[] = [];
  const removed: string[] = [];
  for (const { before: old, after: now } of after.since(before)) {
    if (now !== undefined) changed.push(now.resource);
    else if (old !== undefined) removed.push(formatKey(keyOf(old.resource)));
  }
  return { changed, removed };
}
