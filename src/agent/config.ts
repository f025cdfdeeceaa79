/** The config in force: compiled, swapped whole, or refused whole with what was there left serving (life of a change). */
import { messageOf } from "../core/errors.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import {
  compileSnapshot,
  type SelfDescription,
  type Snapshot,
} from "../policy/snapshot.ts";
import type { Revision } from "../push/messages.ts";
import type { KeptConfig } from "./last-known-good.ts";
import { revisionFault } from "./revision.ts";
import type { ReceivedResources } from "./staging.ts";

/** Bytes of a config beyond which it is refused, where nothing else is said. */
export const MAX_CONFIG_BYTES: number = 64 * 1024 * 1024;

export interface Config {
  readonly snapshot: Watch<Snapshot | undefined>;
  /** What the snapshot was compiled from. */
  readonly current: KeptConfig | undefined;
  /** Gives the reason where it cannot be put in force. */
  take(config: KeptConfig, self: SelfDescription): string | undefined;
  /** The same for a push, which has to come from the store that is followed. */
  push(
    revision: Revision,
    resources: ReceivedResources,
    self: SelfDescription,
    receivedAt: number,
  ): string | undefined;
}

export function makeConfig(): Config {
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  let current: KeptConfig | undefined;

  const take = (
    config: KeptConfig,
    self: SelfDescription,
  ): string | undefined => {
    try {
      const resources = Array.from(
        config.resources.values(),
        ({ resource }) => resource,
      );
      // Compiled to the end before anything changes: no request ever sees half of a config.
      const compiled = compileSnapshot(resources, self, config.version, {
        previous: snapshot.value,
      });
      current = config;
      snapshot.set(compiled);
      return undefined;
    } catch (thrown) {
      return messageOf(thrown);
    }
  };

  return {
    snapshot,
    get current() {
      return current;
    },
    take,
    push(revision, resources, self, receivedAt) {
      const { store, revision: number, digest } = revision;
      return (
        revisionFault(current?.version, revision) ??
        take(
          {
            version: { store, revision: number, digest },
            receivedAt,
            resources,
          },
          self,
        )
      );
    },
  };
}
