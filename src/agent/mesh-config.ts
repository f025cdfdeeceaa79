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
import type { KeptConfig } from "./kept-config.ts";
import { LastKnownGood } from "./last-known-good.ts";
import { describeSelf } from "./self.ts";
import type { MeshInterest } from "./interest/mesh-interest.ts";
import type { ReceivedConfig, ReceivedLookups } from "./staging.ts";
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

/** Milliseconds between two writes of the config for each MiB of it: the least, too. */
const BETWEEN_WRITES = 1000;
/** And at most: a process that was replaced learns by the file what is revoked (law 5). */
const BETWEEN_LARGE_WRITES = 3000;
const MIB = 1024 * 1024;
/** The same where no push came: a use that is lost with the process is noted again. */
const INTEREST_WITHIN = 10_000;

export class MeshConfig {
  readonly #options: MeshConfigOptions;
  readonly #disk: LastKnownGood;
  readonly #refusalLines = tokenBucket(REFUSAL_LINES);
  #self: SelfDescription | undefined;
  /** A config with its own results; neither of a push that is being put in force. */
  #inForce: (KeptConfig & { readonly lookups: ReceivedLookups }) | undefined;
  /** Something is neither on disk nor being written. */
  #changed = false;
  #cancelKeep: Cancel | undefined;
  #cancelInterest: Cancel | undefined;
  #stopFollowing: Cancel | undefined;

  constructor(options: MeshConfigOptions) {
    const { directory, version, clock, logger, status } = options;
    this.#options = options;
    this.#disk = new LastKnownGood({
      directory,
      program: version,
      clock,
      logger,
      onFailure: (keepError) => status.update({ keepError }),
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
    if (interest !== undefined) {
      interest.everything = !revision.selective;
      interest.applied(resources, lookups, self);
    }
    this.#settle();
    if (resources !== before) this.#keepSoon();
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

  /** What is in force now belongs together. */
  #settle(): void {
    const { config, interest } = this.#options;
    const lookups = interest?.lookups ?? new Map();
    if (config.current !== undefined)
      this.#inForce = { ...config.current, lookups };
  }

  /** At once, and what comes within a second after that together: a control plane may push without end, and each write costs. */
  #keepSoon(): void {
    this.#changed = true;
    if (this.#cancelKeep !== undefined) return;
    this.#keepNow();
    const next = (): void => {
      this.#cancelKeep = undefined;
      if (this.#changed) this.#keepSoon();
    };
    this.#cancelKeep = this.#options.clock.after(
      Math.min(
        BETWEEN_WRITES * Math.max(1, this.#disk.bytes / MIB),
        BETWEEN_LARGE_WRITES,
      ),
      next,
    );
  }

  #keepNow(): void {
    const changed = this.#changed || this.#cancelInterest !== undefined;
    this.#cancelInterest?.();
    this.#cancelInterest = undefined;
    this.#changed = false;
    if (!changed || this.#inForce === undefined || this.#self === undefined)
      return;
    const { lookups, ...config } = this.#inForce;
    const { services = [] } = this.#options.interest?.kept ?? {};
    this.#disk.keep({ ...config, interest: { services, lookups } }, this.#self);
  }

  /** A push cannot be used: requests do not wait any longer for what it would have brought. */
  unusable(reason: string, version: Partial<Revision> | undefined): void {
    this.report(reason, version);
    this.#options.interest?.refused(reason);
  }

  /** What the sidecar is interested in has changed. */
  interestChanged(): void {
    this.#cancelInterest ??= this.#options.clock.after(INTEREST_WITHIN, () =>
      this.#keepNow(),
    );
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
    this.#keepNow();
    await this.#disk.settled();
  }

  /** Resolves when what is to be kept is on disk. */
  async close(): Promise<void> {
    this.#stopFollowing?.();
    this.#cancelKeep?.();
    this.#keepNow();
    await this.#disk.close();
  }

  /** Closed, and another process keeps what the control plane says: until it is closed again, that is put in force here, too. */
  async followDisk(): Promise<void> {
    const { config, interest, directory, version, clock } = this.#options;
    const owner = this.#self;
    if (owner === undefined) return;
    this.#stopFollowing = await followDisk({
      ...{ directory, owner, version, clock },
      take: async (kept) => {
        const reason = await config.take(kept, owner);
        if (reason === undefined)
          interest?.applied(kept.resources, kept.interest.lookups, owner);
        return reason;
      },
    });
  }

  async #boot(owner: SelfDescription): Promise<void> {
    const { config, interest, status, logger } = this.#options;
    const kept = await this.#disk.read(owner);
    if (kept === undefined) return;
    let reason: string | undefined;
    if ("reason" in kept) ({ reason } = kept);
    else {
      // Before it is in force: what is called then is known.
      interest?.restore(kept.interest);
      interest?.applied(kept.resources, kept.interest.lookups, owner);
      reason = await config.take(kept, owner);
    }
    if (reason === undefined) {
      this.#settle();
      logger.info(
        { revision: config.current?.version.revision },
        "serving the last config that this sidecar had",
      );
      status.update({ source: "disk" });
    } else {
      logger.error(
        { reason },
        "the config on disk cannot be used: calls are refused (NO_CONFIG) until the control plane has sent one",
      );
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
