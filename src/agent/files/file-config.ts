/** The config of a sidecar without a control plane: put in force from files, and from changed files once nothing speaks against them. */
import { wait, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { PersistentMap } from "../../core/persistent/map.ts";
import { pauses } from "../../core/slices.ts";
import type { Bytes } from "../../core/units.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { RefusedConfig } from "../agent.ts";
import type { Config } from "../config.ts";
import type { ReceivedResource } from "../staging.ts";
import { listResources, lookAt } from "./look.ts";
import { readInThread } from "./read-in-thread.ts";
import type {
  ReadFiles,
  ReadRequest,
  ResourcesRead,
} from "./read-resources.ts";
import { SETTLE } from "./watch-files.ts";

export interface FileConfigOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly path: string;
  /** The operator means it where files hold far fewer resources than before, or none. */
  readonly allowShrink: boolean;
  readonly maxConfigBytes: Bytes;
  readonly config: Config;
  /** The workload as its certificate names it now. */
  readonly self: () => SelfDescription;
  /** The config in force, or what is refused, has changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Reads changed files: in a thread, where absent. */
  readonly read?: typeof readInThread;
}

/** Milliseconds: what was written a moment before the start may be written to again. */
const SETTLE_AT_START = 250;
/** Warnings of one load that are logged; `wherry lint` has all. */
const MOST_WARNINGS = 20;

export class FileConfig {
  readonly #options: FileConfigOptions;
  readonly #stop = new AbortController();
  /** Those in force. */
  #resources = new PersistentMap<ReceivedResource>();
  #digests: ReadonlyMap<string, string> = new Map();
  #counts: ReadonlyMap<string, number> = new Map();
  #revision = 0;
  #refused: RefusedConfig | undefined;
  /** What was warned of, of the resources in force. */
  #warned: ReadonlySet<string> = new Set();

  constructor(options: FileConfigOptions) {
    this.#options = options;
  }

  get refused(): RefusedConfig | undefined {
    return this.#refused;
  }

  /** Throws UserError. */
  async loadFirst(): Promise<void> {
    const { clock, path } = this.#options;
    const { signal } = this.#stop;
    for (;;) {
      const { signature, writtenAt } = await lookAt(() => listResources(path));
      const age = clock.wall() - writtenAt;
      if (age >= 0 && age < SETTLE_AT_START)
        await wait(clock, SETTLE_AT_START - age, signal);
      // There are no calls yet that it could hold, and a thread takes its time to begin.
      const { readResources } = await import("./read-resources.ts");
      const request = this.#request(signature);
      if (await this.#take(await readResources(request))) return;
    }
  }

  /** The files have changed, and nobody writes to them. Never rejects. */
  reload(signature: string): Promise<void> {
    return this.#attempt(async () => {
      const { read = readInThread } = this.#options;
      const request = this.#request(signature);
      return this.#take(await read(request, this.#stop.signal));
    });
  }

  /** Puts the same resources in force for a workload that is described differently. Never rejects. */
  describeAnew(): Promise<void> {
    return this.#attempt(async () => {
      const { current } = this.#options.config;
      if (current === undefined) return false;
      await this.#putInForce(this.#resources, current.version.digest);
      return true;
    });
  }

  /** The files have been written to for `ms` without a pause. */
  restless(ms: number): void {
    this.#refuse(
      `${this.#options.path} has been written to for ${ms / 1000} s without a pause of ${SETTLE / 1000} s`,
      "the changed resources are read once nobody writes to them; the ones in force stay",
    );
  }

  close(): void {
    this.#stop.abort(new Error("the sidecar is stopping"));
  }

  #request(signature: string): ReadRequest {
    const { path, maxConfigBytes: maxBytes, clock } = this.#options;
    const wall = clock.wall();
    return { path, signature, maxBytes, wall, inForce: this.#digests };
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

  /** False where the files have changed again: the watcher comes again. Throws UserError. */
  async #take(read: ResourcesRead): Promise<boolean> {
    if (read.kind === "changed") return false;
    if (read.kind === "unusable") throw new UserError(read.reason);
    const { files } = read;
    const loss = this.#options.allowShrink
      ? undefined
      : lossOf(files.counts, this.#counts);
    if (loss !== undefined)
      throw new UserError(
        `${loss}: write them, or remove the file, or start with --allow-shrink if that is meant`,
      );
    const digests = new Map(this.#digests);
    const edit = this.#resources.edit();
    for (const name of files.removed) {
      edit.delete(name);
      digests.delete(name);
    }
    const pause = pauses(this.#options.clock);
    for (const { name, digest, json } of files.changed) {
      await pause();
      const resource = JSON.parse(json) as Resource;
      edit.set(name, { version: "", resource, bytes: 0 });
      digests.set(name, digest);
    }
    const resources = edit.done();
    await this.#putInForce(resources, files.digest);
    this.#resources = resources;
    this.#digests = digests;
    this.#counts = files.counts;
    this.#warn(files);
    return true;
  }

  /** Throws UserError. */
  async #putInForce(
    resources: PersistentMap<ReceivedResource>,
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
  #warn({ warnings }: ReadFiles): void {
    const fresh = warnings.filter((warning) => !this.#warned.has(warning));
    this.#warned = new Set(warnings);
    const { logger } = this.#options;
    for (const warning of fresh.slice(0, MOST_WARNINGS)) logger.warn(warning);
    if (fresh.length > MOST_WARNINGS)
      logger.warn(`and ${fresh.length - MOST_WARNINGS} more`);
  }

  #refuse(reason: string, what: string): void {
    const { onChange, clock, logger } = this.#options;
    this.#refused = { reason, at: clock.wall() };
    logger.error({ reason }, what);
    onChange();
  }
}

/** What nobody may have meant: a full disk or a save that died leaves files without resources. `before` is empty at the start. */
function lossOf(
  after: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): string | undefined {
  for (const [file, count] of before)
    if (count > 0 && after.get(file) === 0)
      return `${file} holds no resources any more`;
  const left = total(after);
  const had = total(before);
  if (left === 0) return "the files hold no resources";
  return left * 2 < had
    ? `only ${left} of ${had} resources are left`
    : undefined;
}

function total(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
