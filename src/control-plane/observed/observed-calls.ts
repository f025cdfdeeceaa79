/** The calls that sidecars have seen come in within the last hour. */
import type { Clock } from "../../core/clock.ts";
import type { ShadowEffect } from "../../policy/authorization/shadow.ts";
import { keyOfObserved, type ObservedCall } from "../../push/messages.ts";
import {
  cut,
  ReportedCalls,
  type ObservingWorkload,
  type Times,
} from "./reported-calls.ts";

const EFFECTS: Readonly<Record<ShadowEffect, true>> = {
  ...{ refused: true, admitted: true, matched: true },
};

/** Names of the Services that lead to that port of the workload; without a port, to any. */
export type LeadingServices = (
  workload: ObservingWorkload,
  port?: number,
) => ReadonlySet<string>;

export interface SeenCall
  extends Omit<ObservedCall, "count" | "firstAge" | "lastAge">, Times {}

export class ObservedCalls extends ReportedCalls<ObservedCall, SeenCall> {
  constructor(clock: Pick<Clock, "wall" | "now">) {
    super(clock, { seenOf, isSound, keyOf: keyOfObserved });
  }
}

function seenOf(
  { policy, effect, peer, address, port, method, host, path }: ObservedCall,
  times: Times,
): SeenCall {
  return {
    ...{ policy: cut(policy), effect: cut(effect), peer: cut(peer) },
    ...{ address: cut(address), port, method: cut(method) },
    ...{ host: cut(host), path: cut(path), ...times },
  };
}

function isSound({ policy, effect }: SeenCall): boolean {
  return policy === "" ? effect === "" : Object.hasOwn(EFFECTS, effect);
}
