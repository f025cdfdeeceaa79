/** The place of a sidecar's resolver: loaded for `--dns` alone, and opened with the other listeners. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";
import { closeDescriptor } from "../../runtime/unix/pass-descriptors.ts";
import type { KeptNames } from "./kept-names.ts";
import type { Naming } from "./naming.ts";
import type { SidecarSettings } from "../settings.ts";
import type { ProxyWorker } from "../workers/worker.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";

/** Milliseconds: how often, and for how long, a process looks what the one before it has given yet. */
const LEARN = 250;
const LEARN_FOR = 15_000;

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
  readonly #replaces: boolean;
  #kept: KeptNames | undefined;
  #stopLearning: Cancel | undefined;
  #naming: Naming | undefined;
  #closed = false;

  constructor(parts: Parts, workerPool: WorkerPool | undefined) {
    const { pages, workers, naming } = parts.handed;
    const replaces = pages.length + naming.length + workers.flat().length > 0;
    this.#parts = parts;
    this.#replaces = replaces;
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

  /** What applications know addresses for from the process before this one. Comes before any call is served. */
  async load(): Promise<void> {
    const { settings, worker, clock, logger } = this.#parts;
    const { names } = worker;
    const file = settings.dns?.file;
    if (file === undefined || names === undefined) return;
    const { KeptNames } = await import("./kept-names.ts");
    this.#kept = new KeptNames({ file, clock, logger, names });
    await this.#kept.catchUp();
    // Threads that begin yet hear of it before they have anything to serve by.
    this.#tellOthers().catch(defectIn(logger, "the share of names"));
  }

  /** What the process before this one has given meanwhile. Never rejects. */
  async learn(): Promise<void> {
    await this.#kept?.catchUp();
    await this.#tellOthers();
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
      ...{ settings: settings.dns, names },
      share: (host, address) => this.#share(host, address),
      handed: this.#handed.splice(0),
    });
    this.#naming = naming;
    if (this.#closed) naming.close();
    else {
      this.#state.set(`port ${naming.port}`);
      if (this.#replaces) this.#keepLearning();
    }
  }

  /** The process before this one replies to what waits there for some time yet. */
  #keepLearning(): void {
    const { clock, logger } = this.#parts;
    const until = clock.now() + LEARN_FOR;
    const stop = clock.every(LEARN, () => {
      this.learn().catch(defectIn(logger, "the share of names"));
      if (clock.now() >= until) stop();
    });
    this.#stopLearning = stop;
  }

  async #share(host: string, address: string): Promise<string> {
    const kept = this.#kept;
    const standing = (await kept?.claim(host, address)) ?? address;
    const names = [...(kept?.learnt() ?? []), { host, address: standing }];
    await this.#workerPool?.shareVirtual(names);
    return standing;
  }

  async #tellOthers(): Promise<void> {
    const learnt = this.#kept?.learnt() ?? [];
    if (learnt.length > 0)
      await this.#workerPool?.shareVirtual(learnt).catch(() => undefined);
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
    this.#stop();
    this.#naming?.retire();
  }

  close(): void {
    this.#stop();
    this.#naming?.close();
  }

  #stop(): void {
    this.#closed = true;
    this.#stopLearning?.();
  }
}
