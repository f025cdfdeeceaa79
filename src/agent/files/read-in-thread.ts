/** Reads resource files in a thread, which ends with its result: to parse and check thousands of them would hold the calls of the event loop. */
import { Worker } from "node:worker_threads";
import { messageOf, systemCode } from "../../core/errors.ts";
import type { ReadRequest, ResourcesRead } from "./read-resources.ts";

/** MiB of the thread's heap: YAML takes some hundred times its own size. */
const MOST_MEMORY = 1024;

/** Beside this file; the bundle has it beside its own beginning. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts") ? "./read-thread.ts" : "./read-thread.mjs",
  import.meta.url,
);

/** Never rejects. Ends the thread where the signal aborts. `mostMemory`: MiB of its heap. */
export function readInThread(
  request: ReadRequest,
  signal: AbortSignal,
  mostMemory: number = MOST_MEMORY,
): Promise<ResourcesRead> {
  return new Promise((resolve) => {
    const failed = (reason: string): void =>
      resolve({
        kind: "unusable",
        reason: `the resources cannot be read: ${reason}`,
      });
    try {
      const thread = new Worker(ENTRY, {
        workerData: request,
        resourceLimits: { maxOldGenerationSizeMb: mostMemory },
      });
      const stop = (): void => {
        thread.terminate().catch(() => undefined);
      };
      signal.addEventListener("abort", stop, { once: true });
      thread.once("message", resolve);
      thread.once("error", (thrown: Error) =>
        failed(reasonOf(thrown, mostMemory)),
      );
      thread.once("exit", () => {
        signal.removeEventListener("abort", stop);
        failed("their thread ended");
      });
    } catch (thrown) {
      failed(messageOf(thrown));
    }
  });
}

function reasonOf(error: Error, mostMemory: number): string {
  return systemCode(error) === "ERR_WORKER_OUT_OF_MEMORY"
    ? `to parse them takes more than ${mostMemory} MiB of memory`
    : messageOf(error);
}
