/** What holds for every Service alike; where it changes, all is compiled anew. */
import {
  meshSettings,
  type MeshResource,
} from "../../resources/mesh/schema.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import type { WorkloadResource } from "../../resources/workload/schema.ts";
import { compileRetry } from "../retry.ts";
import type { ForwardDecision, SelfDescription } from "../snapshot.ts";
import { effectiveTimeouts } from "../timeout.ts";

export interface Frame {
  readonly self: SelfDescription;
  readonly mesh: MeshSettings;
  /** Where the caller is, "" where nobody has said. */
  readonly locality: string;
  /** For requests that no route speaks of. */
  readonly unrouted: Pick<ForwardDecision, "timeouts" | "retry">;
}

/** `registered`: the caller's own Workload. The frame of before where it says the same. */
export function frameOf(
  self: SelfDescription,
  mesh: MeshResource | undefined,
  registered: WorkloadResource | undefined,
  before: Frame | undefined,
): Frame {
  const settings = meshSettings(mesh?.spec);
  const said = {
    self,
    mesh: settings,
    // As it was declared at its start, else as it was registered.
    locality: self.locality ?? registered?.spec.locality ?? "",
  };
  if (before !== undefined) {
    const { self, mesh, locality } = before;
    if (JSON.stringify({ self, mesh, locality }) === JSON.stringify(said))
      return before;
  }
  return {
    ...said,
    self: structuredClone(self),
    unrouted: {
      timeouts: effectiveTimeouts(undefined, settings.defaults.timeouts),
      retry: compileRetry(undefined, settings.defaults.retry),
    },
  };
}
