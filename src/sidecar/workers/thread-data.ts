/** What the threads of a sidecar begin with: the settings of the first worker, with the ports that it got. */
import type { Logger } from "../../core/log.ts";
import type { SharedState } from "../../core/shared/shared-state.ts";
import type { SidecarPorts } from "../../proxy/downstream/ports.ts";
import type { SidecarSettings } from "../settings.ts";
import type { ThreadData } from "./protocol.ts";
import type { ProxyWorker, TracingChoice } from "./worker.ts";

/** What all workers have in common; undefined where there is to be one alone. */
export function threadData(of: {
  readonly sharedState: SharedState;
  readonly settings: SidecarSettings;
  readonly tracing: TracingChoice | undefined;
  readonly logger: Logger;
  readonly worker: ProxyWorker;
}): Omit<ThreadData, "worker" | "handed"> | undefined {
  const { workers, memory, rates } = of.sharedState;
  if (memory === undefined || rates === undefined) return undefined;
  const { settings, tracing, logger, worker } = of;
  return {
    sharedState: { workers, memory: memory.buffer, rates },
    settings: {
      ...settings,
      ports: portsOf(worker.ports),
      ...worker.portMappings,
    },
    tracing: percentageOf(tracing),
    log: { level: logger.level, bindings: logger.bindings() },
  };
}

/** The same ports again, of what listens. */
function portsOf({
  outbound,
  inbound,
  link,
}: ProxyWorker["ports"]): SidecarPorts {
  return {
    ...(outbound === undefined ? {} : { outbound }),
    ...(inbound === undefined ? {} : { inbound }),
    ...(link === undefined ? {} : { link }),
  };
}

function percentageOf(
  tracing: TracingChoice | undefined,
): { readonly samplingPercentage?: number } | undefined {
  if (tracing === undefined) return undefined;
  const { samplingPercentage } = tracing;
  return samplingPercentage === undefined ? {} : { samplingPercentage };
}
