/** How many connections there are: in all, on a listener, from an address, of an identity; and whether there may be one more. */
import {
  LOCAL_STATE,
  counterOf,
  type SharedState,
  type Counter,
} from "../../core/shared/shared-state.ts";
import { networkOf } from "../../core/text/network.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { SidecarLimits } from "./limits.ts";

type Caps = Pick<
  SidecarLimits,
  | "connections"
  | "connectionsPerListener"
  | "connectionsPerAddress"
  | "connectionsPerIdentity"
>;

/** Why there may not be one more; for the log and the metric. */
export interface Excess {
  readonly reason: ConnectionExcess;
  readonly detail: string;
}

export type ConnectionExcess =
  | "too many connections"
  | "too many connections on the listener"
  | "too many connections from one address"
  | "too many connections of one identity";

export interface ConnectionCounts {
  readonly total: number;
  /** Counts one more connection, or says why it may not be. `address` undefined: callers on this machine, which are one. */
  add(listener: string, address: string | undefined): Excess | undefined;
  /** The end of a connection that was counted. */
  remove(listener: string, address: string | undefined): void;
  addIdentity(identity: SpiffeUri): Excess | undefined;
  removeIdentity(identity: SpiffeUri): void;
}

/** The caps hold over all workers of `sharedState`. */
export function countConnections(
  caps: Caps,
  sharedState: SharedState = LOCAL_STATE,
): ConnectionCounts {
  return new CappedCounts(caps, sharedState);
}

class CappedCounts implements ConnectionCounts {
  readonly #caps: Caps;
  readonly #sharedState: SharedState;
  readonly #open = new Map<string, Open>();

  constructor(caps: Caps, sharedState: SharedState) {
    this.#caps = caps;
    this.#sharedState = sharedState;
  }

  get total(): number {
    return this.#open.get(ALL)?.counter.value ?? 0;
  }

  add(listener: string, address: string | undefined): Excess | undefined {
    const asked = this.#asked(listener, address);
    for (const [index, [reason, name, cap]] of asked.entries()) {
      const excess = this.#enter(reason, name, cap);
      if (excess === undefined) continue;
      for (const [, entered] of asked.slice(0, index)) this.#leave(entered);
      return excess;
    }
    return undefined;
  }

  #asked(
    listener: string,
    address: string | undefined,
  ): readonly (readonly [ConnectionExcess, string, number])[] {
    const caps = this.#caps;
    return [
      ["too many connections", ALL, caps.connections],
      [
        "too many connections on the listener",
        onListener(listener),
        caps.connectionsPerListener,
      ],
      ...(address === undefined
        ? []
        : [
            [
              "too many connections from one address",
              fromAddress(address),
              caps.connectionsPerAddress,
            ] as const,
          ]),
    ];
  }

  remove(listener: string, address: string | undefined): void {
    this.#leave(ALL);
    this.#leave(onListener(listener));
    if (address !== undefined) this.#leave(fromAddress(address));
  }

  addIdentity(identity: SpiffeUri): Excess | undefined {
    return this.#enter(
      "too many connections of one identity",
      ofIdentity(identity),
      this.#caps.connectionsPerIdentity,
    );
  }

  removeIdentity(identity: SpiffeUri): void {
    this.#leave(ofIdentity(identity));
  }

  #enter(
    reason: ConnectionExcess,
    name: string,
    cap: number,
  ): Excess | undefined {
    const known = this.#open.get(name);
    const counter =
      known?.counter ?? counterOf(this.#sharedState, `connections ${name}`);
    if (!counter.enter(cap)) {
      const detail = `${counter.value} are open, and no more are taken`;
      if (known === undefined) counter.close();
      return { reason, detail };
    }
    if (known === undefined) this.#open.set(name, { counter, own: 1 });
    else known.own += 1;
    return undefined;
  }

  #leave(name: string): void {
    const known = this.#open.get(name);
    if (known === undefined) return;
    known.counter.leave();
    known.own -= 1;
    if (known.own > 0) return;
    this.#open.delete(name);
    known.counter.close();
  }
}

interface Open {
  readonly counter: Counter;
  /** Those of this worker. */
  own: number;
}

const ALL = "in all";
const onListener = (listener: string): string => `on ${listener}`;
const fromAddress = (address: string): string => `from ${networkOf(address)}`;
const ofIdentity = (identity: SpiffeUri): string => `of ${identity}`;
