/** What the next compile takes over of this one: all that the snapshot was made of and what came of it. Nothing in it ever changes. */
import { PersistentGroups } from "../../core/persistent/groups.ts";
import { PersistentMap } from "../../core/persistent/map.ts";
import type { ServedPort } from "./clusters.ts";
import { NO_NAMES, type Names } from "./destinations.ts";
import type { Frame } from "./frame.ts";
import { NO_INDEXES, type Indexes } from "./held/indexes.ts";
import { NO_STOCK, type Stock } from "./held/stock.ts";
import type { Inbound } from "./inbound.ts";
import type { Recording } from "./own/telemetry.ts";
import type { Unit } from "./unit.ts";
import type { Revoked } from "../../identity/revoked.ts";

export interface Parts {
  readonly stock: Stock;
  readonly indexes: Indexes;
  /** By the Service's "NAMESPACE/NAME". */
  readonly units: PersistentMap<Unit>;
  /** By the key of the cluster. */
  readonly ports: PersistentMap<ServedPort>;
  /** The Services whose routes refer to a cluster, by its key. */
  readonly referrers: PersistentGroups<string>;
  readonly names: Names;
}

export interface CompiledParts extends Parts {
  readonly frame: Frame;
  readonly inbound: Inbound;
  readonly recording: Recording;
  readonly revoked: Revoked;
}

/** Before the first compile. */
export const NOTHING: Parts = {
  stock: NO_STOCK,
  indexes: NO_INDEXES,
  units: new PersistentMap(),
  ports: new PersistentMap(),
  referrers: new PersistentGroups(),
  names: NO_NAMES,
};
