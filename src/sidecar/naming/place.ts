/** The place of a sidecar's resolver: loaded for `--dns` alone, and opened with the other listeners. */
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import { closeDescriptor } from "../../runtime/unix/pass-descriptors.ts";
import type { Naming } from "./naming.ts";
import type { SidecarSettings } from "../settings.ts";
import type { ProxyWorker } from "../workers/worker.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";

interface Parts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: SidecarSettings;
  readonly worker: ProxyWorker;
  /** Where there is any of it, the process before this one listens until `open`, which comes once this one is ready. */
  readonly handed: {
    readonly pages: readonly unknown[];
    readonly naming: readonly ListeningSocket[];
    readonly workers: readonly (readonly unknown[])[];
  };
}

export class NamingPlace {
  readonly #parts: Parts;
  readonly #workerPool: WorkerPool | undefined;
  readonly #state: WatchSource<string | undefined>;
  readonly #handed: ListeningSocket[];
  #naming: Naming | undefined;
  #closed = false;

  constructor(parts: Parts, workerPool: WorkerPool | undefined) {
    const { pages, workers, naming } = parts.handed;
    const replaces = pages.length + naming.length + workers.flat().length > 0;
    this.#parts = parts;
    this.#handed = [...naming];
    this.#workerPool = workerPool;
    this.#state = watchSource<string | undefined>(
      replaces ? "listens once the process before it drains" : undefined,
    );
  }

  /** What it is at, undefined until it may be asked; no watch where there is no resolver. */
  get state(): Watch<string | undefined> | undefined {
    return this.#parts.settings.dns === undefined ? undefined : this.#state;
  }

  /** Throws UserError where it cannot listen. */
  async open(): Promise<void> {
    const { settings, worker } = this.#parts;
    const { names } = worker;
    if (settings.dns === undefined || names === undefined) {
      // Questions would wait in them for ever.
      for (const { descriptor } of this.#handed.splice(0))
        closeDescriptor(descriptor);
      return;
    }
    if (this.#naming !== undefined) return;
    const { startNaming } = await import("./naming.ts");
    const naming = await startNaming({
      ...this.#parts,
      ...{ settings: settings.dns, workerPool: this.#workerPool, names },
      handed: this.#handed.splice(0),
    });
    this.#naming = naming;
    if (this.#closed) naming.close();
    else this.#state.set(`port ${naming.port}`);
  }

  view(): unknown {
    return this.#naming?.view();
  }

  /** All that it listens on. */
  get sockets(): readonly ListeningSocket[] {
    return this.#naming?.sockets ?? [];
  }

  /** Questions that have no reply yet. */
  get waiting(): number {
    return this.#naming?.waiting ?? 0;
  }

  /** As `OpenResolver.retire`. */
  retire(): void {
    this.#closed = true;
    this.#naming?.retire();
  }

  close(): void {
    this.#closed = true;
    this.#naming?.close();
  }
}
