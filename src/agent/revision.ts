/** Whether a sidecar may follow what a control plane offers: its store's history must be the one that the config in force came from. */
import type { SnapshotVersion } from "../policy/snapshot.ts";
import type { Revision } from "../push/messages.ts";

/**
 * Why a Revision is not to be followed after `known`; undefined where it is. A control plane that lost its database, or got an
 * older one back, would empty the mesh: its word is not taken before an operator's is.
 */
export function revisionFault(
  known: SnapshotVersion | undefined,
  revision: Revision,
): string | undefined {
  if (known === undefined || revision.accepted) return undefined;
  const advice = `if that is meant, say \`wherry store accept ${revision.store}\``;
  if (revision.store !== known.store)
    return `another store: the config in force is of store ${known.store} at revision ${known.revision}, and the control plane now has store ${revision.store} at revision ${revision.revision}; ${advice}`;
  if (revision.revision < known.revision)
    return `another store: the config in force is of revision ${known.revision}, and the control plane went back to revision ${revision.revision}; ${advice}`;
  if (revision.parted === true)
    return `another store: the config in force is of revision ${known.revision}, which is not in the history of the control plane's store, now at revision ${revision.revision}: a backup was put in its place; ${advice}`;
  return undefined;
}
