/** Keeps the sidecar's certificate fresh for as long as the process lives: from disk, by enrolment, by renewal; whatever fails, it tries on. */
import { equalJitter } from "../../core/backoff.ts";
import { timestamp, wait, type Cancel, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { PacedWork } from "../../core/paced-work.ts";
import type { MonotonicMs } from "../../core/units.ts";
import {
  waitFor,
  watchSource,
  type Watch,
  type WatchSource,
} from "../../core/watch.ts";
import {
  loadCredentials,
  type Credentials,
} from "../../identity/credentials.ts";
import { generatePrivateKey } from "../../identity/private-key.ts";
import type { Revoked } from "../../identity/revoked.ts";
import type { SignedBundle } from "../../identity/trust-bundle.ts";
import { timeOf, timesOf, validFor } from "../../identity/trust.ts";
import { isRefusal } from "../connection.ts";
import type { StateDirectory } from "../state-directory.ts";
import { isOfOtherRoot, rootsOfBundle } from "./bundles.ts";
import { enrol, renew } from "./enrol.ts";
import { chooseInUse } from "./in-use.ts";
import { Keeping } from "./keeping.ts";
import { readCredentials, type KeptCredentials } from "./kept-credentials.ts";
import {
  alarmText,
  expiryNote,
  HOW_TO_ENROL,
  TOKEN_AWAITED,
} from "./renewal-texts.ts";
import { isNearEnd, renewalTime, type Held } from "./renewal.ts";

export type EnrolmentTokenText =
  | string
  | undefined
  | (() => Promise<string | undefined>);

export interface CertificatesOptions {
  /** "HOST:PORT" of the control plane. */
  readonly address: string;
  /** Text of an enrolment token, or the way to the text of now: undefined where there is none yet. */
  readonly token: EnrolmentTokenText;
  /** Instance name to ask for at enrolment; "" leaves it to the control plane. */
  readonly name: string;
  readonly directory: StateDirectory;
  /** Share of the certificate's life after which to renew, from the config in force. */
  readonly rotateAt: () => number;
  /** As `ConnectionOptions.revoked`. */
  readonly revoked?: (() => Revoked) | undefined;
  /** While it is false, nothing is asked of the control plane. */
  readonly turn?: Watch<boolean> | undefined;
  /** What the control plane sends is read at its pace. */
  readonly work?: PacedWork | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CertificatesFault {
  /** The newest failure, with what to do. */
  readonly error?: string;
  /** Less than a quarter of the certificate's life is left and it is not renewed. */
  readonly alarm?: string;
}

/** Milliseconds between tries. */
const RETRY = { base: 500, max: 60_000 } as const;
/** The longest wait where there is no certificate, or it has ended, and calls fail for it. */
const RETRY_ENDED = 10_000;
/** The longest wait where the token's file is not there yet: a look costs nothing. */
const LOOK_FOR_TOKEN = 1000;
/** Why a wait is cut short that goes on, until another moment. */
const REPLAN = new Error("the next renewal is planned anew");
/** Milliseconds between two renewals that somebody asked for. */
const ASKED_EVERY = 10_000;

/** Resolves once the disk is read; the network is the background's business. */
export async function startCertificates(
  options: CertificatesOptions,
): Promise<Certificates> {
  const { directory, clock, logger } = options;
  const stored = await readCredentials(directory, clock, logger);
  return new Certificates(options, stored);
}

/** Undefined until the disk and the network gave one. */
type Maybe = Credentials | undefined;

export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #stop = new AbortController();
  readonly #fault = watchSource<CertificatesFault>({});
  readonly #credentials: WatchSource<Maybe> = watchSource<Maybe>(undefined);
  readonly #issued: WatchSource<Maybe> = watchSource<Maybe>(undefined);
  readonly #running: Promise<void>;
  readonly #keeping: Keeping;
  /** The newest. */
  #held: Held | undefined;
  #inUse: Maybe;
  #cancelChoice: Cancel = () => undefined;
  #tried: MonotonicMs = -Infinity;
  /** When the newest certificate is renewed for its root. */
  #reissueAt: MonotonicMs = Infinity;
  /** Until an enrolment with it succeeds: a response may be lost, and the next try is to cost no other use of the token. */
  #enrolmentKey: string | undefined;
  /** The control plane gives nothing for what this sidecar has, or is not the token's. */
  #needsHand = false;
  #tokenIsMissing = false;
  /** Cuts the present wait short. */
  #cut = new AbortController();

  constructor(
    options: CertificatesOptions,
    stored: KeptCredentials | undefined,
  ) {
    this.#options = options;
    this.#keeping = new Keeping({
      ...options,
      onFailure: (error) => this.#fault.set({ ...this.#fault.value, error }),
      onWell: (reason) => this.#keptAgain(reason),
    });
    this.#held = stored?.held;
    this.#inUse = stored?.inUse;
    this.#choose();
    this.#planReissue(0);
    this.#running = this.#run();
  }

  /** What peers are shown; undefined until there is a certificate that is valid. */
  get credentials(): Watch<Maybe> {
    return this.#credentials;
  }

  /** What the control plane is shown: the newest that it issued, also where its clock and ours disagree on it. */
  get issued(): Watch<Maybe> {
    return this.#issued;
  }

  /** The last there was, valid or not: it has the identity of this sidecar. */
  get latest(): Maybe {
    return this.#held?.credentials;
  }

  get fault(): Watch<CertificatesFault> {
    return this.#fault;
  }

  /** A clock has jumped, or the control plane does not take the certificate: whether there is a better one is looked at soon. */
  lookAgain(): void {
    this.#choose();
    this.#cut.abort();
  }

  /** `rotateAt` says something else than when the wait began. */
  replan(): void {
    this.#cut.abort(REPLAN);
  }

  /** Trusts the roots of a bundle that came over the stream. Resolves once that is on disk, or cannot be; with the reason where the bundle is refused. */
  async trust(signed: SignedBundle): Promise<string | undefined> {
    const { clock, logger } = this.#options;
    if (this.#held === undefined) return "there is no certificate";
    const { credentials } = this.#held;
    const roots = rootsOfBundle(credentials, signed, clock);
    if (typeof roots === "string") {
      logger.error({ reason: roots }, "the roots that came are not trusted");
      return roots;
    }
    if (roots.bundle?.serial === credentials.bundle?.serial) return undefined;
    this.#held = { ...this.#held, credentials: { ...credentials, ...roots } };
    this.#choose();
    this.#planReissue(0);
    logger.info({ serial: roots.bundle?.serial }, "the trusted roots are new");
    this.#keeping.put({ held: this.#held, inUse: this.#inUse });
    await this.#keeping.settled();
    return undefined;
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the sidecar is stopping"));
    await this.#running;
    this.#cancelChoice();
    await this.#keeping.close();
  }

  /** Ends with the process, and before that for nothing. */
  async #run(): Promise<void> {
    const isOver = (): boolean => this.#stop.signal.aborted;
    const { turn } = this.#options;
    if (turn !== undefined)
      await waitFor(turn, (mine) => mine, this.#stop.signal).catch(
        () => undefined,
      );
    for (let failures = 0; !isOver();)
      try {
        await this.#untilNextTry(failures);
        this.#tried = this.#options.clock.now();
        const before = this.latest?.bundle;
        this.#take(this.#withNewerRoots(await this.#obtain(), before));
        failures = 0;
      } catch (thrown) {
        failures += 1;
        this.#needsHand =
          isRefusal(thrown) ||
          (this.latest === undefined && thrown instanceof UserError);
        if (!isOver()) this.#report(thrown);
      }
  }

  /** Rejects when the sidecar stops. */
  async #untilNextTry(failures: number): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    const ms = failures === 0 ? this.#dueIn() : this.#backOff(failures);
    if (ms <= 0) return;
    this.#cut = new AbortController();
    const cut = this.#cut.signal;
    await wait(clock, ms, AbortSignal.any([signal, cut])).catch(
      () => undefined,
    );
    signal.throwIfAborted();
    if (cut.reason === REPLAN) return this.#untilNextTry(failures);
    const floor = this.#tried + ASKED_EVERY - clock.now();
    if (cut.aborted && floor > 0) await wait(clock, floor, signal);
  }

  /** Milliseconds until the newest certificate is to be renewed. */
  #dueIn(): number {
    const { clock, rotateAt } = this.#options;
    if (this.#held === undefined) return 0;
    if (this.#left() <= 0) return this.#tried === -Infinity ? 0 : RETRY_ENDED;
    const { meshTime } = this.#held.credentials;
    const now = meshTime === undefined ? clock.wall() : timeOf(meshTime, clock);
    const due = renewalTime(this.#held, rotateAt(), {
      wall: () => now,
      random: () => clock.random(),
    });
    return Math.min(due - now, this.#reissueAt - clock.now());
  }

  /** Where the mesh issues from another root than that of the newest certificate, that one is renewed at a moment of its own. `least`: milliseconds. */
  #planReissue(least: number): void {
    const { clock } = this.#options;
    const { latest } = this;
    const bundle = latest?.bundle;
    this.#reissueAt =
      latest !== undefined && bundle !== undefined && isOfOtherRoot(latest)
        ? clock.now() + least + bundle.renewWithin * clock.random()
        : Infinity;
    this.#cut.abort(REPLAN);
  }

  /** Milliseconds. Tries come closer when the certificate is short-lived, near its end, or ended. */
  #backOff(failures: number): number {
    const { clock } = this.#options;
    const left = this.#left();
    if (this.#tokenIsMissing)
      return Math.min(LOOK_FOR_TOKEN, RETRY.base * failures);
    const longest =
      left > 0
        ? Math.max(RETRY.base, Math.min(RETRY.max, left / 10))
        : this.#needsHand
          ? RETRY.max
          : RETRY_ENDED;
    return equalJitter({ ...RETRY, max: longest }, failures, clock);
  }

  /** Milliseconds for which the newest certificate is valid, by this machine's clock or by the mesh's. */
  #left(): number {
    const { latest } = this;
    return latest === undefined
      ? 0
      : validFor(latest, timesOf(latest.meshTime, this.#options.clock));
  }

  /** One try. With a certificate, valid or not, it is the control plane that decides what it is good for. */
  async #obtain(): Promise<Credentials> {
    const { address, work, revoked, clock } = this.#options;
    const { signal } = this.#stop;
    const credentials = this.latest;
    this.#tokenIsMissing = false;
    if (credentials === undefined) return this.#enrol(await this.#token());
    try {
      return await renew({
        ...{ address, credentials, work, revoked, clock, signal },
      });
    } catch (thrown) {
      const isUseless = isRefusal(thrown) || this.#left() <= 0;
      if (!isUseless || signal.aborted) throw thrown;
      const token = await this.#token().catch(() => undefined);
      this.#tokenIsMissing = false;
      if (token === undefined) throw thrown;
      return await this.#enrol(token);
    }
  }

  async #token(): Promise<string> {
    const { token } = this.#options;
    const text = typeof token === "function" ? await token() : token;
    if (text !== undefined) return text;
    this.#tokenIsMissing = typeof token === "function";
    throw new UserError(this.#tokenIsMissing ? TOKEN_AWAITED : HOW_TO_ENROL);
  }

  async #enrol(token: string): Promise<Credentials> {
    const { address, name, work, revoked, clock } = this.#options;
    const { signal } = this.#stop;
    const privateKey = (this.#enrolmentKey ??= generatePrivateKey());
    const enrolled = await enrol({
      ...{ address, token, name, privateKey, work, revoked, clock, signal },
    });
    this.#enrolmentKey = undefined;
    return enrolled;
  }

  /** Roots that the stream brought while it was asked for are kept. `before`: what was held then. Throws UserError where they are not those of the certificate. */
  #withNewerRoots(
    next: Credentials,
    before: Credentials["bundle"],
  ): Credentials {
    const { trustBundle, bundle } = this.latest ?? {};
    if (
      trustBundle === undefined ||
      bundle === undefined ||
      bundle.serial === before?.serial ||
      bundle.serial <= (next.bundle?.serial ?? 0)
    )
      return next;
    const wall = this.#options.clock.wall();
    const checked = loadCredentials({ ...next, trustBundle }, wall);
    return { ...next, ...checked, bundle };
  }

  #take(next: Credentials): void {
    const { clock, logger } = this.#options;
    const since = next.meshTime?.wall ?? clock.wall();
    const held = { credentials: next, since };
    this.#held = held;
    this.#choose();
    this.#planReissue(ASKED_EVERY);
    const { failure } = this.#keeping;
    this.#fault.set(failure === undefined ? {} : { error: failure });
    const { id: identity, notBefore, notAfter } = next;
    const log = { identity, expiresAt: timestamp(notAfter) };
    if (this.#inUse?.generation === next.generation)
      logger.info(log, "a new certificate is in use");
    else
      logger.warn(
        { ...log, validFrom: timestamp(notBefore) },
        "the new certificate is not valid by this machine's clock: peers are shown the one before until it is, or that one has ended",
      );
    this.#keeping.put({ held, inUse: this.#inUse });
  }

  /** Also when one of the two begins or ends. */
  #choose(): void {
    const { clock } = this.#options;
    const { latest } = this;
    this.#cancelChoice();
    if (latest === undefined) return;
    const choice = chooseInUse(this.#inUse, latest, clock);
    this.#inUse = choice.chosen;
    if (Number.isFinite(choice.until))
      this.#cancelChoice = clock.after(choice.until, () => this.#choose());
    this.#credentials.set(choice.credentials);
    this.#issued.set(choice.newestIsValid ? latest : undefined);
  }

  #keptAgain(reason: string): void {
    const { error, ...rest } = this.#fault.value;
    if (error === reason) this.#fault.set(rest);
  }

  #report(thrown: unknown): void {
    this.#failed(messageOf(thrown) + expiryNote(this.latest, this.#left()));
    this.#warnLate();
  }

  #failed(error: string): void {
    const { error: known, alarm } = this.#fault.value;
    if (known !== error)
      this.#options.logger.warn({ reason: error }, "no new certificate");
    this.#fault.set(alarm === undefined ? { error } : { error, alarm });
  }

  #warnLate(): void {
    const { logger } = this.#options;
    const left = this.#left();
    if (this.#held === undefined || !isNearEnd(this.#held, left)) return;
    const { error, alarm: known } = this.#fault.value;
    const text = alarmText(this.#held.credentials, left, error);
    if (known === undefined) logger.error({ reason: error }, text);
    this.#fault.set({ ...this.#fault.value, alarm: text });
  }
}
