/** What all relays of a proxy share. */
import type { Deadlines } from "../../core/deadlines.ts";
import type { Clock } from "../../core/clock.ts";
import type { IdleWatcher } from "./time/idle.ts";
import type { Buffers } from "../../wire/buffers.ts";
import type { TransferLimits } from "./time/transfer-rate.ts";
import type { Fallen, PolicyAge } from "./open-ended.ts";
import type { LongLived } from "./long-lived.ts";
import type { ReplayBudget } from "./replay.ts";

export interface RelayHost {
  readonly clock: Clock;
  readonly idle: IdleWatcher;
  /** The time-outs of attempts, and what else is due. */
  readonly deadlines: Deadlines;
  readonly replay: ReplayBudget;
  /** What all connections hold. */
  readonly buffers: Buffers;
  readonly limits: TransferLimits;
  readonly policy: PolicyAge;
  readonly fallen: Fallen;
  /** Exchanges in flight at most; over it, OVERLOADED. 0 at the last level of overload. */
  maxActive: number;
  readonly longLived: LongLived;
  /** Memory is short, at whatever level: what holds some of it has to move. */
  short: boolean;
}
