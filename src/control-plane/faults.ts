/** The FaultInjections that act now, for the status of the mesh: trouble on purpose is shown before all else. */
import { parseTimestamp } from "../core/clock.ts";
import type { WallMs } from "../core/units.ts";
import { FAULT_INJECTION } from "../resources/fault-injection/schema.ts";
import { describeFault } from "../resources/fault-injection/spec.ts";
import { isKind } from "../resources/kind.ts";
import type { Store } from "./store/store.ts";

export interface ActiveFault {
  readonly namespace: string;
  readonly name: string;
  readonly targets: readonly string[];
  /** "delay 2s 10 %, abort 503 1 %" */
  readonly what: string;
  /** Wall milliseconds. */
  readonly expiresAt: WallMs;
}

export async function activeFaults(
  store: Store,
  wall: WallMs,
): Promise<readonly ActiveFault[]> {
  const { resources } = await store.list(FAULT_INJECTION.kind);
  return resources.flatMap((resource) => {
    if (!isKind(FAULT_INJECTION, resource)) return [];
    const { metadata, spec } = resource;
    const expiresAt = parseTimestamp(spec.expiresAt);
    if (!(expiresAt > wall)) return [];
    return [
      {
        namespace: metadata.namespace ?? "",
        name: metadata.name,
        targets: spec.targetRefs.map(({ name }) => name),
        what: describeFault(spec),
        expiresAt,
      },
    ];
  });
}
