/** A snapshot that differs from another in some fields. A spread would not do: what the fields of a class's instance say is in its prototype. */
import type { Snapshot } from "../../../src/policy/snapshot.ts";

export function snapshotWith(
  before: Snapshot | undefined,
  changes: Partial<Snapshot>,
): Snapshot {
  if (before === undefined) throw new Error("there is no snapshot");
  const { version, self, mesh, inbound, revoked, telemetry } = before;
  const { destinations, faulty, clusters, warnings } = before;
  return {
    ...{ version, self, mesh, inbound, revoked, telemetry },
    ...{ destinations, faulty, clusters, warnings },
    destination: (host, port) => before.destination(host, port),
    destinationByAddress: (address, port, host) =>
      before.destinationByAddress(address, port, host),
    destinationOfCaptured: (address, port, named) =>
      before.destinationOfCaptured(address, port, named),
    cluster: (key) => before.cluster(key),
    ...changes,
  };
}
