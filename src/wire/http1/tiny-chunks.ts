/** Ends a connection whose source sends more tiny chunks in a second than it may. */
import type { Clock } from "../../core/clock.ts";
import { excess, type Source } from "../flood-guard.ts";
import { Http1Fault } from "./fault.ts";
import type { Http1Limit, Http1Limits } from "./limits.ts";

/** To be called for each tiny chunk. Throws `Http1Fault` above the limit. */
export function tinyChunkGuard(
  source: Source,
  limits: Http1Limits,
  clock: Clock,
  onLimit: ((limit: Http1Limit) => void) | undefined,
): () => void {
  return () => {
    const limit = limits.tinyChunksPerSecond;
    const most = excess(source, "tiny_chunks", limit, clock.now());
    if (most === undefined) return;
    onLimit?.("tiny_chunks");
    throw new Http1Fault(
      "flood",
      `more than ${most} chunks of less than 64 bytes in a second`,
    );
  };
}
