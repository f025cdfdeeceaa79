/** What the agent of a sidecar brings goes to its workers: config, certificate, and what is asked of it. */
import type { Agent } from "../agent/agent.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { followJumps } from "../core/machine/clock-jumps.ts";
import type { Watch } from "../core/watch.ts";
import type { WorkerPool } from "./workers/worker-pool.ts";
import type { ProxyWorker } from "./workers/worker.ts";

export interface Followers {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly worker: ProxyWorker;
}

/** Returns what ends it. */
export function followAgent(
  agent: Agent,
  followers: Followers,
  workerPool: WorkerPool | undefined,
): readonly (() => void)[] {
  const { worker } = followers;
  const stops: (() => void)[] = [];
  const { lookups } = agent;
  if (lookups !== undefined) {
    worker.lookups = lookups;
    workerPool?.lookups(lookups);
    stops.push(lookups.watchExchanges(() => worker.servicesInUse()));
  }
  if (agent.reports !== undefined) {
    workerPool?.reports(agent.reports);
    stops.push(agent.reports.watch(() => worker.sightings()));
  }
  if (agent.observations !== undefined) {
    workerPool?.observations(agent.observations);
    stops.push(agent.observations.watch(() => worker.observed()));
  }
  if (agent.outside !== undefined) {
    workerPool?.outside(agent.outside);
    stops.push(agent.outside.watch(() => worker.outside()));
  }
  stops.push(
    followJumps({
      ...followers,
      count: (direction) => worker.meters.clockJumps.with(direction).add(1),
      onJump: () => agent.clockJumped(),
    }),
    follow(agent.credentials, (value) => {
      worker.credentials.set(value);
      if (value !== undefined) workerPool?.credentials(value);
    }),
    follow(agent.snapshot, (value) => {
      if (value !== undefined) worker.apply(value);
    }),
  );
  return stops;
}

/** The present value and every later one. */
function follow<T>(watch: Watch<T>, run: (value: T) => void): () => void {
  const stop = watch.subscribe(run);
  run(watch.value);
  return stop;
}
