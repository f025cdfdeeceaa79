/** The config in force, kept on disk after each acknowledged push, so that the sidecar starts with it when the control plane is away. */
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SnapshotVersion } from "../policy/snapshot.ts";
import { digestOf, resourceName } from "../push/names.ts";
import { keyOf, type Resource } from "../resources/envelope.ts";
import type { ReceivedResource, ReceivedResources } from "./staging.ts";
import type { StateDirectory } from "./state-directory.ts";

export const SNAPSHOT_FILE = "snapshot.json";
const FORMAT = 1;

export interface KeptConfig {
  readonly version: SnapshotVersion;
  /** Wall milliseconds. */
  readonly receivedAt: number;
  readonly resources: ReceivedResources;
}

/** Whose config it is: it was scoped to that instance, and another one must not serve it. */
export interface Owner {
  /** SPIFFE id. */
  readonly identity: string;
  readonly name: string;
}

interface File {
  readonly format: number;
  readonly owner: Owner;
  readonly version: SnapshotVersion;
  readonly receivedAt: number;
  readonly resources: readonly {
    readonly version: string;
    readonly bytes: number;
    readonly resource: Resource;
  }[];
}

/** What is on disk for `owner`; the reason where there is something that cannot be used. */
export async function readKept(
  directory: StateDirectory,
  owner: Owner,
): Promise<KeptConfig | { readonly reason: string } | undefined> {
  const stored = await directory.read(SNAPSHOT_FILE);
  if (stored.kind === "none") return undefined;
  if (stored.kind === "damaged") return { reason: stored.reason };
  // Past the checksum the file is as this program wrote it; only an older or newer one may have written it otherwise.
  const file = stored.content as File;
  if (file.format !== FORMAT)
    return {
      reason: `${directory.path}/${SNAPSHOT_FILE} is ignored: it is of format ${file.format}, and this version reads ${FORMAT}`,
    };
  if (file.owner.identity !== owner.identity || file.owner.name !== owner.name)
    return {
      reason: `${directory.path}/${SNAPSHOT_FILE} is ignored: it is the config of ${file.owner.name} (${file.owner.identity})`,
    };
  const resources = new Map<string, ReceivedResource>();
  for (const received of file.resources)
    resources.set(resourceName(keyOf(received.resource)), received);
  const digest = digestOf(
    Array.from(resources, ([name, { version }]) => [name, version] as const),
  );
  if (digest !== file.version.digest)
    return {
      reason: `${directory.path}/${SNAPSHOT_FILE} is ignored: its digest does not fit`,
    };
  return { version: file.version, receivedAt: file.receivedAt, resources };
}

export interface Keeper {
  /** Writes soon; where writes are slower than changes, only the newest is written. */
  keep(config: KeptConfig, owner: Owner): void;
  /** Resolves when what was to be kept is. */
  close(): Promise<void>;
}

export function makeKeeper(
  directory: StateDirectory,
  logger: Logger,
  onFailure: (error: string | undefined) => void,
): Keeper {
  let next: File | undefined;
  let writing: Promise<void> | undefined;

  const run = async (): Promise<void> => {
    while (next !== undefined) {
      const file = next;
      next = undefined;
      try {
        await directory.write(SNAPSHOT_FILE, file);
        onFailure(undefined);
      } catch (thrown) {
        const error = `the config cannot be kept in ${directory.path}: ${messageOf(thrown)}; without it this sidecar cannot restart while the control plane is away`;
        logger.error(error);
        onFailure(error);
      }
    }
    writing = undefined;
  };

  return {
    keep({ version, receivedAt, resources }, owner) {
      next = {
        format: FORMAT,
        owner,
        version,
        receivedAt,
        resources: [...resources.values()],
      };
      writing ??= run();
    },
    async close() {
      await writing;
    },
  };
}
