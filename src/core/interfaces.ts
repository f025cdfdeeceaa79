/** The interfaces of this machine, which it takes a socket to look at. */
import { networkInterfaces, type NetworkInterfaceInfo } from "node:os";

/** Undefined where the machine has none left for it: no descriptor, no memory. */
export function interfacesHere(): readonly NetworkInterfaceInfo[] | undefined {
  try {
    return Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  } catch {
    return undefined;
  }
}
