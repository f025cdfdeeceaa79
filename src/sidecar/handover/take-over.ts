/** How a newer process comes into the place of an older one: ready first, then both accept, then the newer alone. */
import { wait, type Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import type { Logger } from "../../core/log.ts";
import type { Sidecar } from "../contract.ts";
import type { Predecessor } from "./claim.ts";

/** Milliseconds. The older one holds what it handed over for longer. */
const READY_WITHIN = 60_000;

/**
 * Resolves when the sidecar alone accepts. Rejects, and the sidecar has ended, where it is not ready in time, the older one goes on after
 * all, or `stop` aborts; the older one then serves as before.
 */
export async function takeOver(
  sidecar: Pick<Sidecar, "readiness" | "whenReady" | "begin" | "destroy">,
  before: Predecessor,
  {
    telemetry,
    clock,
    logger,
    stop,
  }: {
    /** What would keep this process from its first calls, done while the older one serves. */
    readonly telemetry: { start(): Promise<void> };
    readonly clock: Clock;
    readonly logger: Logger;
    readonly stop: AbortSignal;
  },
): Promise<void> {
  const letGo = keepAlive();
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, stop]);
  try {
    const late = wait(clock, READY_WITHIN, signal).then(() => {
      throw notReady(sidecar, before);
    });
    const prepared = sidecar.whenReady.then(() => telemetry.start());
    await Promise.race([prepared, before.refused, late]);
    await sidecar.begin();
    logger.info(
      { pid: before.pid },
      "ready, and listening: the older process drains from now on",
    );
    await before.drain();
  } catch (thrown) {
    before.abandon();
    await sidecar.destroy();
    throw thrown;
  } finally {
    over.abort();
    letGo();
  }
}

/** From the disk alone: the place in the mesh is still the older one's. */
function notReady(
  { readiness }: Pick<Sidecar, "readiness">,
  { pid }: Predecessor,
): UserError {
  const missing = readiness
    .checks()
    .filter(({ ok, name }) => !ok && name !== "application")
    .map(({ name, detail }) => `${name} (${detail})`);
  if (missing.length === 0) missing.push("exporters (not loaded yet)");
  return new UserError(
    `not ready within ${READY_WITHIN / 1000} s from what the state directory holds: ${missing.join(", ")}. Process ${pid ?? "unknown"} goes on; restart it without --take-over`,
  );
}
