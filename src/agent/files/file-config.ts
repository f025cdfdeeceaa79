/** The config of a sidecar without a control plane: put in force from files, and from changed files once nothing speaks against them. */
import type { Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import { inSlices, nextTurn, pauses } from "../../core/slices.ts";
import type { Bytes } from "../../core/units.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import type { RefusedConfig } from "../agent.ts";
import type { Config } from "../config.ts";
import type { CameWhole } from "./arrivals.ts";
import { doubtOf, type Facts } from "./doubt.ts";
import {
  lookAt,
  newestOf,
  SETTLE,
  staySame,
  type List,
  type Look,
} from "./look.ts";
import { newRemarks, type Remark } from "./remarks.ts";
import { ResourceFiles } from "./resource-files.ts";
import type { ReceivedResources } from "../staging.ts";

export interface FileConfigOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly path: string;
  readonly allowShrink: boolean;
  readonly maxConfigBytes: Bytes;
  readonly config: Config;
  /** The workload as its certificate names it now. */
  readonly self: () => SelfDescription;
  /** The config in force, or what is refused, has changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class FileConfig {
  readonly #options: FileConfigOptions;
  readonly #files: ResourceFiles;
  readonly #stop = new AbortController();
  /** About the files whose resources are in force. */
  #facts: Facts = new Map();
  #revision = 0;
  #refused: RefusedConfig | undefined;
  /** What was warned of, of the resources in force. */
  #warned: ReadonlySet<string> = new Set();

  constructor(options: FileConfigOptions) {
    const { path, maxConfigBytes: maxBytes, clock } = options;
    this.#options = options;
    this.#files = new ResourceFiles({ path, maxBytes, clock });
  }

  get refused(): RefusedConfig | undefined {
    return this.#refused;
  }

  get list(): List {
    return this.#files.list;
  }

  /** Waits first for files that were written a moment ago, which may be written to again. Throws UserError. */
  async loadFirst(): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const look = await lookAt(this.list);
      const age = clock.wall() - newestOf(look);
      const fresh = age >= 0 && age < SETTLE;
      if (fresh && !(await this.#staySame(look, SETTLE))) continue;
      if (await this.#load(look, () => false)) return;
    }
  }

  /** The files have changed, and stand so now. Never rejects. */
  reload(look: Look, cameWhole: CameWhole): Promise<void> {
    return this.#attempt(() => this.#load(look, cameWhole));
  }

  /** Puts the same resources in force for a workload that is described differently. Never rejects. */
  describeAnew(): Promise<void> {
    return this.#attempt(async () => {
      const { current } = this.#options.config;
      if (current === undefined) return false;
      await this.#putInForce(current.resources, current.version.digest);
      return true;
    });
  }

  /** The files have been written to for `ms` without a pause. */
  restless(ms: number): void {
    this.#refuse(
      `${this.#options.path} has been written to for ${ms / 1000} s without a pause of ${SETTLE} ms`,
      "the changed resources are read once nobody writes to them; the ones in force stay",
    );
  }

  close(): void {
    this.#stop.abort(new Error("the sidecar is stopping"));
    this.#files
      .close()
      .catch(defectIn(this.#options.logger, "the end of a thread"));
  }

  /** Runs what puts a config in force; the present one stays where that fails. */
  async #attempt(work: () => Promise<boolean>): Promise<void> {
    try {
      if (await work())
        this.#options.logger.info(
          { resources: this.#options.path, revision: this.#revision },
          "the changed resources are in force",
        );
    } catch (thrown) {
      if (this.#stop.signal.aborted) return;
      this.#refuse(
        messageOf(thrown),
        "the changed resources cannot be used; the ones in force stay",
      );
    }
  }

  /** False where the files were changed meanwhile: the watcher comes again. Throws UserError. */
  async #load(look: Look, cameWhole: CameWhole): Promise<boolean> {
    const { allowShrink, config, clock } = this.#options;
    const inForce = config.current?.resources ?? new Map();
    const loaded = await this.#files.load(look, inForce);
    if (loaded === undefined) return false;
    const doubt = await inSlices(
      doubtOf(loaded.files, this.#facts, cameWhole, allowShrink),
      pauses(clock),
    );
    if (doubt?.kind === "refuse") throw new UserError(doubt.reason);
    // At the start there is nothing older to serve.
    if (doubt?.kind === "wait" && config.current !== undefined) {
      if (doubt.reason !== undefined)
        this.#refuse(
          doubt.reason,
          "the changed resources are looked at again before they are used; the ones in force stay",
        );
      if (!(await this.#staySame(look, doubt.ms))) return false;
    }
    await nextTurn();
    await this.#putInForce(loaded.resources, loaded.digest);
    this.#facts = loaded.files;
    await this.#warn(loaded.remarks);
    return true;
  }

  #staySame(look: Look, ms: number): Promise<boolean> {
    const { clock } = this.#options;
    return staySame(this.list, look, ms, clock, this.#stop.signal);
  }

  /** Throws UserError. */
  async #putInForce(
    resources: ReceivedResources,
    digest: string,
  ): Promise<void> {
    const { config, self, onChange, clock } = this.#options;
    this.#revision += 1;
    const reason = await config.take(
      {
        // There is no store, and the revision counts the loads of this process.
        version: { store: "files", revision: this.#revision, digest },
        receivedAt: clock.wall(),
        resources,
      },
      self(),
    );
    if (reason !== undefined) throw new UserError(reason);
    this.#refused = undefined;
    onChange();
  }

  /** Warns of what was not warned of before. */
  async #warn(remarks: readonly Remark[]): Promise<void> {
    const { clock, logger } = this.#options;
    const { fresh, all } = await inSlices(
      newRemarks(remarks, this.#warned),
      pauses(clock),
    );
    this.#warned = all;
    for (const warning of await this.#files.describe(fresh))
      logger.warn(warning);
  }

  #refuse(reason: string, what: string): void {
    const { onChange, clock, logger } = this.#options;
    this.#refused = { reason, at: clock.wall() };
    logger.error({ reason }, what);
    onChange();
  }
}
