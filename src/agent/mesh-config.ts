/** The config of one sidecar in a mesh: from the disk at first, from pushes after that, always for the workload that its certificate names. */
import type { Cancel, Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { tokenBucket } from "../core/token-bucket.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { SelfDescription } from "../policy/snapshot.ts";
import type { Node, Revision, UnreadReport } from "../push/messages.ts";
import { NODE, SCHEMA_VERSION } from "../push/names.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import type { RefusedConfig } from "./agent.ts";
import type { AgentStatus } from "./agent-status.ts";
import type { Config } from "./config.ts";
import { followDisk } from "./disk-follower.ts";
import { LastKnownGood } from "./last-known-good.ts";
import { describeSelf } from "./self.ts";
import { InterestOnDisk } from "./interest/interest-on-disk.ts";
import type { MeshInterest } from "./interest/mesh-interest.ts";
import type { ReceivedConfig } from "./staging.ts";
import type { StateDirectory } from "./state-directory.ts";
import type { PushResult } from "./stream.ts";
import { reportOf } from "./unread/report.ts";

export interface MeshConfigOptions {
  readonly config: Config;
  readonly status: AgentStatus;
  readonly directory: StateDirectory;
  /** What the sidecar holds of the mesh; undefined: everything in scope. */
  readonly interest: MeshInterest | undefined;
  readonly workload: () => WorkloadSpec | undefined;
  /** Version of this software. */
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A control plane may give a new reason with each push: the log has one every ten seconds, and the status has the newest. */
const REFUSAL_LINES = { rate: 0.1, burst: 10 } as const;

/** Milliseconds between two writes of the config. */
const BETWEEN_WRITES = 1000;

export class MeshConfig {
  readonly #options: MeshConfigOptions;
  readonly #disk: LastKnownGood;
  readonly #interestOnDisk: InterestOnDisk;
  readonly #refusalLines = tokenBucket(REFUSAL_LINES);
  #self: SelfDescription | undefined;
  /** Whose config is to be written; undefined where what is on disk is what is in force, or is being written. */
  #toKeep: SelfDescription | undefined;
  #cancelKeep: Cancel | undefined;
  #stopFollowing: Cancel | undefined;

  constructor(options: MeshConfigOptions) {
    const { directory, version, clock, logger, status, interest } = options;
    this.#options = options;
    this.#disk = new LastKnownGood({
      directory,
      program: version,
      clock,
      logger,
      onFailure: (keepError) => status.update({ keepError }),
    });
    this.#interestOnDisk = new InterestOnDisk({
      directory,
      clock,
      logger,
      current: () =>
        interest === undefined || this.#self === undefined
          ? undefined
          : { ...interest.kept, owner: this.#self },
    });
  }

  get held(): ReceivedConfig {
    const { config, interest } = this.#options;
    return {
      resources: config.current?.resources ?? new Map(),
      lookups: interest?.lookups ?? new Map(),
    };
  }

  /** The workload that this certificate names; and, the first time that is known, the config that the disk holds for it. */
  async become(credentials: Credentials): Promise<SelfDescription> {
    const { config, interest, workload } = this.#options;
    const { ports, locality } = workload() ?? {};
    const next = describeSelf(credentials, {
      ...(ports === undefined ? {} : { ports }),
      ...(locality === undefined ? {} : { locality }),
    });
    const first = this.#self === undefined;
    const changed = JSON.stringify(this.#self) !== JSON.stringify(next);
    this.#self = next;
    const { current } = config;
    if (first) await this.#boot(next);
    else if (changed && current !== undefined) {
      this.report(await config.take(current, next), current.version);
      interest?.applied(current.resources, interest.lookups, next);
    }
    return next;
  }

  /** Puts a push in force and keeps it, or says why not; and what of it cannot be read whole. */
  async push(
    self: SelfDescription,
    revision: Revision,
    { resources, lookups, unread }: ReceivedConfig,
  ): Promise<PushResult> {
    const { config, interest, status, clock } = this.#options;
    const report = reportOf(unread);
    const before = config.current?.resources;
    const reason = await config.push(revision, resources, self, clock.wall());
    if (reason !== undefined) {
      this.unusable(reason, revision);
      return { refused: reason, unread: report };
    }
    if (config.current !== undefined && resources !== before)
      this.#keepSoon(self);
    if (interest !== undefined) {
      interest.everything = !revision.selective;
      interest.applied(resources, lookups, self);
    }
    this.#reportUnread(report);
    status.update({ source: "stream", refused: undefined });
    return { refused: undefined, unread: report };
  }

  /** In the log where it is other than at the push before. */
  #reportUnread(unread: UnreadReport | undefined): void {
    const { status, clock, logger } = this.#options;
    const { unread: before } = status.progress;
    if (
      unread !== undefined &&
      JSON.stringify(unread) !== JSON.stringify(before) &&
      this.#refusalLines.take(clock.now())
    )
      logger.warn(
        unread,
        "the config has fields that this version does not know; all else is in force",
      );
    status.update({ unread });
  }

  /** At once, and what comes within a second after that together: a control plane may push without end, and each write costs. */
  #keepSoon(self: SelfDescription): void {
    this.#toKeep = self;
    if (this.#cancelKeep !== undefined) return;
    this.#keepNow();
    const next = (): void => {
      this.#cancelKeep = undefined;
      if (this.#toKeep !== undefined) this.#keepSoon(this.#toKeep);
    };
    this.#cancelKeep = this.#options.clock.after(BETWEEN_WRITES, next);
  }

  #keepNow(): void {
    const { current } = this.#options.config;
    const owner = this.#toKeep;
    this.#toKeep = undefined;
    if (current !== undefined && owner !== undefined)
      this.#disk.keep(current, owner);
  }

  /** A push cannot be used: requests do not wait any longer for what it would have brought. */
  unusable(reason: string, version: Partial<Revision> | undefined): void {
    this.report(reason, version);
    this.#options.interest?.refused(reason);
  }

  /** What the sidecar is interested in has changed. */
  interestChanged(): void {
    this.#interestOnDisk.changed();
  }

  /** The newest config is not used, for this reason; or it is. */
  report(
    reason: string | undefined,
    version: Partial<Revision> | undefined,
  ): void {
    const { status, clock, logger } = this.#options;
    if (reason === undefined) {
      status.update({ refused: undefined });
      return;
    }
    if (
      status.progress.refused?.reason !== reason &&
      this.#refusalLines.take(clock.now())
    )
      logger.error(
        { revision: version?.revision, reason },
        "a config was refused; the one in force stays",
      );
    status.update({ refused: refusedConfig(reason, clock.wall(), version) });
  }

  /** What a new stream says of this sidecar, of the roots that it trusts and of the config that it holds. */
  node({ namespace, name }: SelfDescription, trust?: number): Node {
    const { config, version } = this.#options;
    const { current } = config;
    return {
      id: `${namespace}/${name}`,
      metadata: {
        [NODE.schema]: String(SCHEMA_VERSION),
        [NODE.version]: version,
        ...(trust === undefined ? {} : { [NODE.trust]: String(trust) }),
        ...(current === undefined
          ? {}
          : {
              [NODE.store]: current.version.store,
              [NODE.revision]: String(current.version.revision),
              [NODE.digest]: current.version.digest,
              ...(current.version.branch === undefined
                ? {}
                : { [NODE.branch]: current.version.branch }),
              [NODE.receivedAt]: String(current.receivedAt),
            }),
      },
    };
  }

  /** Resolves when what there is now is on disk, or could not be written. */
  async keep(): Promise<void> {
    if (this.#toKeep !== undefined) this.#keepNow();
    await Promise.all([this.#disk.settled(), this.#interestOnDisk.settled()]);
  }

  /** Resolves when what is to be kept is on disk. */
  async close(): Promise<void> {
    this.#stopFollowing?.();
    this.#cancelKeep?.();
    this.#keepNow();
    await Promise.all([this.#disk.close(), this.#interestOnDisk.close()]);
  }

  /** Closed, and another process keeps what the control plane says: until it is closed again, that is put in force here, too. */
  async followDisk(): Promise<void> {
    const { config, directory, version, clock } = this.#options;
    const owner = this.#self;
    if (owner === undefined) return;
    this.#stopFollowing = await followDisk({
      ...{ directory, owner, version, clock },
      take: (kept) => config.take(kept, owner),
    });
  }

  async #boot(owner: SelfDescription): Promise<void> {
    const { config, interest, status, logger } = this.#options;
    if (interest !== undefined) {
      const used = await this.#interestOnDisk.read(owner);
      if (used !== undefined) interest.restore(used);
    }
    const kept = await this.#disk.read(owner);
    if (kept === undefined) return;
    const reason =
      "reason" in kept ? kept.reason : await config.take(kept, owner);
    if (reason === undefined) {
      interest?.applied(this.held.resources, this.held.lookups, owner);
      logger.info(
        { revision: config.current?.version.revision },
        "serving the last config that this sidecar had",
      );
      status.update({ source: "disk" });
    } else {
      logger.error({ reason }, "the config on disk cannot be used");
      status.update({ streamError: reason });
    }
  }
}

function refusedConfig(
  reason: string,
  at: number,
  { store, revision, digest }: Partial<Revision> = {},
): RefusedConfig {
  const known =
    store !== undefined && revision !== undefined && digest !== undefined;
  return {
    reason,
    at,
    ...(known ? { version: { store, revision, digest } } : {}),
  };
}
