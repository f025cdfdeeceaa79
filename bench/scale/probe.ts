/** Asks the probe in a measured process how long its event loop was held up since it was asked last. */
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Milliseconds. */
export interface HeldUp {
  /** The most that the event loop was late: with what neighbours on the core did to it. */
  readonly pause: number;
  /** The most CPU that its thread spent between two turns of a timer of a millisecond. */
  readonly work: number;
  /** How often that was more than a millisecond. */
  readonly long: number;
}

/** Arguments of Node that load the probe. */
export function probeArguments(socket: string): string[] {
  const url = pathToFileURL(join(import.meta.dirname, "probe.js"));
  url.searchParams.set("socket", socket);
  return ["--import", url.href];
}

/** Since the last call, or since the start. */
export function heldUpSince(socket: string): Promise<HeldUp> {
  return new Promise((resolve, reject) => {
    let text = "";
    const asking = connect(socket);
    asking.on("error", reject);
    asking.on("data", (chunk: Buffer) => (text += chunk.toString()));
    asking.on("end", () => resolve(JSON.parse(text) as HeldUp));
  });
}
