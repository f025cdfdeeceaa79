/** Carries the rotation of the root from phase to phase, for as long as the control plane runs: whatever ends it, the next start goes on where it was. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { MonotonicMs } from "../../core/units.ts";
import { Members, type MembersOptions } from "./members.ts";
import { behindOf, outsideOf, type Behind, type Member } from "./rotation.ts";
import type { Trust } from "./trust.ts";

export interface RotationRunnerOptions extends MembersOptions {
  /** LINGER where absent. */
  readonly linger?: number;
  readonly trust: Trust;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RotationView {
  readonly members: readonly Member[];
  /** Those that the present phase waits for. */
  readonly behind: readonly Behind[];
  /** Where there are roots of an external issuer: the sidecars that do not have them, or a certificate of the root that issues. */
  readonly outside?: readonly Behind[];
  /** Why nothing moves besides. */
  readonly fault?: string;
}

/** Milliseconds between two looks at the sidecars. */
const LOOK = 500;
/** In a large mesh a look takes long: a twentieth of the time at most, and no pause is longer. */
const PAUSE_PER_LOOK = 20;
const LONGEST_PAUSE = 5000;
/** Milliseconds after a start in which sidecars come back: until then, it is not known which of them there are. */
export const COME_BACK = 60_000;

/** Milliseconds from the last sidecar's new certificate to the end of the old root: what was called under the old one has ended by then. */
const LINGER = 5000;

export class RotationRunner {
  readonly #options: RotationRunnerOptions;
  readonly #members: Members;
  readonly #startedAt: MonotonicMs;
  #cancel: Cancel = () => undefined;
  #looking: Promise<void> | undefined;
  #fault: string | undefined;
  /** Since when the phase waits for no sidecar. */
  #clearSince: MonotonicMs | undefined;
  #told = "";
  #pause = LOOK;
  #closed = false;

  constructor(options: RotationRunnerOptions) {
    const { trust, clock, logger } = options;
    this.#options = options;
    this.#members = new Members(options);
    // A mesh without a rotation in progress has nobody to lose.
    this.#startedAt = trust.rotation === undefined ? -Infinity : clock.now();
    if (trust.rotation !== undefined)
      logger.warn(
        { phase: trust.rotation.phase },
        "the rotation of the root goes on",
      );
    this.#plan();
  }

  /** Begins one, or leaves the one in progress as it is. Throws UserError. */
  async begin(): Promise<void> {
    const { trust, logger } = this.#options;
    if (trust.rotation === undefined) {
      await trust.begin();
      logger.warn({ to: trust.nextFingerprint }, "a new root is added");
    }
    this.#plan();
  }

  /** Goes on without these; "all": without all that are behind now. Throws UserError where one is not a sidecar that is waited for. */
  async abandon(sidecars: readonly string[] | "all"): Promise<void> {
    const { trust, logger } = this.#options;
    const behind = (await this.view()).behind.map(({ sidecar }) => sidecar);
    const named = sidecars === "all" ? behind : sidecars;
    const unknown = named.filter((sidecar) => !behind.includes(sidecar));
    if (unknown.length > 0)
      throw new UserError(
        `the rotation does not wait for ${unknown.join(", ")}: expected one of ${behind.join(", ") || "none"}`,
      );
    await trust.abandon(named);
    if (named.length > 0)
      logger.warn(
        { sidecars: named },
        "the rotation of the root goes on without these sidecars: they may have to enrol again",
      );
  }

  async view(): Promise<RotationView> {
    const { trust } = this.#options;
    const members = await this.#members.look();
    const { rotation } = trust;
    const fault = this.#fault ?? this.#comingBack();
    const serial = trust.offer.value.serial;
    return {
      ...(trust.isExternal
        ? { outside: outsideOf(trust.issuerRoot, serial, members) }
        : {}),
      members,
      behind: rotation === undefined ? [] : behindOf(rotation, serial, members),
      ...(fault === undefined ? {} : { fault }),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#looking;
  }

  #plan(): void {
    const { trust, clock } = this.#options;
    this.#cancel();
    if (this.#closed || trust.rotation === undefined) return;
    this.#cancel = clock.after(this.#pause, () => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
        this.#plan();
      });
    });
  }

  #comingBack(): string | undefined {
    const { trust, clock } = this.#options;
    const left = this.#startedAt + COME_BACK - clock.now();
    return trust.rotation !== undefined && left > 0
      ? `the control plane was started a moment ago: sidecars have ${Math.ceil(left / 1000)} s yet to come back`
      : undefined;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { clock, logger } = this.#options;
    const began = clock.now();
    try {
      const { behind, members } = await this.view();
      const took = (clock.now() - began) * PAUSE_PER_LOOK;
      this.#pause = Math.min(LONGEST_PAUSE, Math.max(LOOK, took));
      this.#tell(behind);
      if (behind.length > 0 || this.#comingBack() !== undefined)
        this.#clearSince = undefined;
      else if (this.#lingered()) await this.#advance(members.length);
      this.#fault = undefined;
    } catch (thrown) {
      const reason = messageOf(thrown);
      if (reason !== this.#fault)
        logger.error({ reason }, "the rotation of the root cannot go on");
      this.#fault = reason;
    }
  }

  #lingered(): boolean {
    const { trust, clock, linger = LINGER } = this.#options;
    const since = (this.#clearSince ??= clock.now());
    return trust.rotation?.phase !== "reissue" || clock.now() - since >= linger;
  }

  async #advance(sidecars: number): Promise<void> {
    const { trust, logger } = this.#options;
    const { rotation } = trust;
    this.#clearSince = undefined;
    switch (rotation?.phase) {
      case "add":
        await trust.reissue(sidecars);
        logger.warn(
          { to: rotation.to },
          "certificates are of the new root now",
        );
        break;
      case "reissue":
        await trust.retire();
        logger.warn({ from: rotation.from }, "the old root is retired");
        break;
      case "retire":
        await trust.finish();
        logger.warn(
          { to: rotation.to },
          "the rotation of the root is complete",
        );
        break;
      case undefined:
    }
  }

  /** Once for each set of names. */
  #tell(behind: readonly Behind[]): void {
    const names = behind.map(({ sidecar }) => sidecar).join(", ");
    if (names !== this.#told && names !== "")
      this.#options.logger.info(
        { phase: this.#options.trust.rotation?.phase, behind: names },
        "the rotation of the root waits for sidecars",
      );
    this.#told = names;
  }
}
