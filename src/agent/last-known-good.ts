/** The config in force, kept on disk after each acknowledged push, so that the sidecar starts with it when the control plane is away. */
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SpiffeUri, WallMs } from "../core/units.ts";
import type { SnapshotVersion } from "../policy/snapshot.ts";
import { digestOf, resourceName } from "../push/names.ts";
import { formatKey, keyOf, type Resource } from "../resources/envelope.ts";
import { isError } from "../resources/problems.ts";
import { validate } from "../resources/validate.ts";
import type { ReceivedResource, ReceivedResources } from "./staging.ts";
import type { StateDirectory } from "./state-directory.ts";

export const SNAPSHOT_FILE = "snapshot.json";
const FORMAT = 3;

export interface KeptConfig {
  readonly version: SnapshotVersion;
  /** Wall milliseconds. */
  readonly receivedAt: WallMs;
  readonly resources: ReceivedResources;
}

/** Whose config it is: it was scoped to that instance, and another one must not serve it. */
export interface Owner {
  /** SPIFFE id. */
  readonly identity: SpiffeUri;
  readonly name: string;
}

interface File {
  readonly format: number;
  readonly owner: Owner;
  /** The version of the program that found the resources good. */
  readonly program: string;
  readonly version: SnapshotVersion;
  readonly receivedAt: WallMs;
  readonly resources: readonly {
    readonly version: string;
    readonly bytes: number;
    readonly resource: Resource;
  }[];
}

/**
 * What is on disk for `owner`; the reason where there is something that cannot be used. `program`: the version of this program; what
 * another one wrote is held to this one's schemas, which may have become stricter.
 */
export async function readKept(
  directory: StateDirectory,
  owner: Owner,
  program: string,
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
  const faults: string[] = [];
  for (const received of file.resources) {
    const { resource } = received;
    const validation =
      file.program === program
        ? ({ ok: true, resource } as const)
        : validate(resource);
    const key = keyOf(resource);
    if (validation.ok)
      resources.set(resourceName(key), {
        ...received,
        resource: validation.resource,
      });
    else
      for (const { path, message } of validation.problems.filter(isError))
        faults.push(`${formatKey(key)}: ${path} ${message}`);
  }
  if (faults.length > 0)
    return {
      reason: `${directory.path}/${SNAPSHOT_FILE} is ignored: version "${file.program}" wrote it, and here ${faults.slice(0, 5).join("; ")}`,
    };
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
  program: string,
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
        program,
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
