/** The config of a sidecar without a control plane: put in force from files, and from changed files once nothing speaks against them. */
import { wait, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Bytes } from "../../core/units.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import type { RefusedConfig } from "../agent.ts";
import type { Config } from "../config.ts";
import { doubtOf, type Facts } from "./doubt.ts";
import {
  fileVersion,
  listResourceFiles,
  loadResourceFiles,
  newestChange,
} from "./resource-files.ts";
import type { ReceivedResources } from "../staging.ts";
import { SETTLE, signature } from "./watch-files.ts";

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
  readonly #stop = new AbortController();
  /** About the files whose resources are in force. */
  #facts: Facts = new Map();
  #revision = 0;
  #refused: RefusedConfig | undefined;

  constructor(options: FileConfigOptions) {
    this.#options = options;
  }

  get refused(): RefusedConfig | undefined {
    return this.#refused;
  }

  readonly list = (): Promise<readonly string[]> =>
    listResourceFiles(this.#options.path);

  /** Waits first for files that were written a moment ago, which may be written to again. Throws UserError. */
  async loadFirst(): Promise<void> {
    const { clock } = this.#options;
    const start = await signature(this.list);
    const age = clock.wall() - (await newestChange(this.list));
    const fresh = age >= 0 && age < SETTLE;
    if (fresh && !(await this.#staySame(start, SETTLE)))
      return this.loadFirst();
    if (!(await this.#load())) await this.loadFirst();
  }

  /** The files have changed. Never rejects. */
  reload(): Promise<void> {
    return this.#attempt(() => this.#load());
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
  async #load(): Promise<boolean> {
    const { path, maxConfigBytes, allowShrink, config, clock, logger } =
      this.#options;
    const files = await signature(this.list);
    const loaded = await loadResourceFiles(path, maxConfigBytes, clock.wall());
    if ((await signature(this.list)) !== files) return false;
    const doubt = doubtOf(loaded.facts, this.#facts, allowShrink);
    if (doubt?.kind === "refuse") throw new UserError(doubt.reason);
    // At the start there is nothing older to serve.
    if (doubt?.kind === "wait" && config.current !== undefined) {
      this.#refuse(
        doubt.reason,
        "the changed resources are looked at again before they are used; the ones in force stay",
      );
      if (!(await this.#staySame(files, doubt.ms))) return false;
    }
    await this.#putInForce(loaded.resources, loaded.digest);
    this.#facts = loaded.facts;
    for (const warning of loaded.warnings) logger.warn(warning);
    return true;
  }

  /** Waits `ms`; false where the files change meanwhile. */
  async #staySame(files: string, ms: number): Promise<boolean> {
    for (let waited = 0; waited < ms; waited += SETTLE) {
      await wait(this.#options.clock, SETTLE, this.#stop.signal);
      if ((await signature(this.list)) !== files) return false;
    }
    return true;
  }

  /** Throws UserError. */
  async #putInForce(
    resources: ReceivedResources,
    digest: string,
  ): Promise<void> {
    const { config, self, onChange, clock } = this.#options;
    this.#revision += 1;
    const version = fileVersion(this.#revision, digest);
    const reason = await config.take(
      { version, receivedAt: clock.wall(), resources },
      self(),
    );
    if (reason !== undefined) throw new UserError(reason);
    this.#refused = undefined;
    onChange();
  }

  #refuse(reason: string, what: string): void {
    const { onChange, clock, logger } = this.#options;
    this.#refused = { reason, at: clock.wall() };
    logger.error({ reason }, what);
    onChange();
  }
}
