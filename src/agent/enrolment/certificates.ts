/** Keeps the sidecar's certificate fresh: from disk, by enrolment, by renewal; tries on while the control plane is away, and says so in time. */
import { equalJitter } from "../../core/backoff.ts";
import { timestamp, wait, type Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { WallMs } from "../../core/units.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import {
  loadCredentials,
  type CredentialPems,
  type Credentials,
} from "../../identity/credentials.ts";
import { alarm } from "../../push/alarm.ts";
import { enrol, renew } from "./enrol.ts";
import { isNearEnd, renewalTime, type Held } from "./renewal.ts";
import type { StateDirectory } from "../state-directory.ts";

export const CREDENTIALS_FILE = "credentials.json";

export interface CertificatesOptions {
  /** "HOST:PORT" of the control plane. */
  readonly address: string;
  /** Text of an enrolment token. */
  readonly token: string | undefined;
  /** Instance name to ask for at enrolment; "" leaves it to the control plane. */
  readonly name: string;
  readonly directory: StateDirectory;
  /** Share of the certificate's life after which to renew, from the config in force. */
  readonly rotateAt: () => number;
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

/** Resolves once the disk is read; the network is the background's business. */
export async function startCertificates(
  options: CertificatesOptions,
): Promise<Certificates> {
  const { directory, clock, logger } = options;
  const stored = await readStored(directory, clock, logger);
  return new Certificates(options, stored);
}

export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #stop = new AbortController();
  readonly #fault = watchSource<CertificatesFault>({});
  readonly #credentials: WatchSource<Credentials | undefined>;
  readonly #running: Promise<void>;
  #held: Held | undefined;
  /** In order, and apart: a slow disk delays no renewal. */
  #writing: Promise<void> = Promise.resolve();

  constructor(options: CertificatesOptions, stored: Credentials | undefined) {
    this.#options = options;
    if (stored !== undefined)
      this.#held = { credentials: stored, since: stored.notBefore };
    this.#credentials = watchSource(this.#valid());
    this.#running = this.#run().catch((thrown: unknown) => {
      if (!this.#stop.signal.aborted)
        options.logger.error(
          { reason: messageOf(thrown) },
          "the certificate is not renewed any more: a defect",
        );
    });
  }

  /** Undefined until there is a certificate that is valid. */
  get credentials(): Watch<Credentials | undefined> {
    return this.#credentials;
  }

  /** The last there was, valid or not: it says who this sidecar is. */
  get latest(): Credentials | undefined {
    return this.#held?.credentials;
  }

  get fault(): Watch<CertificatesFault> {
    return this.#fault;
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the sidecar is stopping"));
    await this.#running;
    await this.#writing;
  }

  /** Ends where there is nothing to get another certificate with. */
  async #run(): Promise<void> {
    const { clock, rotateAt } = this.#options;
    for (;;) {
      if (this.#held !== undefined && this.#valid() !== undefined)
        await until(
          clock,
          renewalTime(this.#held, rotateAt(), clock),
          this.#stop.signal,
        );
      if (!(await this.#replace())) return;
    }
  }

  /** Tries until there is a new certificate; false where there is nothing to try with. */
  async #replace(): Promise<boolean> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    for (let attempt = 1; ; attempt += 1) {
      const trying = this.#obtain();
      if (trying === undefined) {
        this.#failed(howToEnrol(this.latest));
        return false;
      }
      try {
        this.#take(await trying);
        return true;
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        this.#failed(messageOf(thrown) + expiryNote(this.latest, clock.wall()));
      }
      this.#warnLate();
      const max = longestWait(this.latest, clock.wall());
      await wait(clock, equalJitter({ ...RETRY, max }, attempt, clock), signal);
    }
  }

  /** One try; undefined where there is nothing to try with. */
  #obtain(): Promise<Credentials> | undefined {
    const { address, token, name, clock } = this.#options;
    const { signal } = this.#stop;
    const credentials = this.#valid();
    if (credentials !== undefined)
      return renew({ address, credentials, clock, signal });
    this.#credentials.set(undefined);
    return token === undefined
      ? undefined
      : enrol({ address, token, name, clock, signal });
  }

  /** The certificate that is held, while it is valid. */
  #valid(): Credentials | undefined {
    const { latest } = this;
    return latest !== undefined && isValid(latest, this.#options.clock.wall())
      ? latest
      : undefined;
  }

  #take(next: Credentials): void {
    const { clock, logger } = this.#options;
    this.#held = { credentials: next, since: clock.wall() };
    this.#credentials.set(next);
    this.#fault.set({});
    logger.info(
      { identity: next.id, expiresAt: timestamp(next.notAfter) },
      "a new certificate is in use",
    );
    this.#writing = this.#writing.then(() => this.#write(next));
  }

  async #write(credentials: Credentials): Promise<void> {
    const { directory } = this.#options;
    const { certificateChain, privateKey, trustBundle } = credentials;
    const content = { certificateChain, privateKey, trustBundle };
    try {
      await directory.write(CREDENTIALS_FILE, content);
    } catch (thrown) {
      this.#failed(
        `the certificate cannot be kept in ${directory.path}: ${messageOf(thrown)}; without it this sidecar cannot restart while the control plane is away`,
      );
    }
  }

  #failed(error: string): void {
    const { error: known, alarm: text } = this.#fault.value;
    if (known !== error)
      this.#options.logger.warn({ reason: error }, "no new certificate");
    this.#fault.set(text === undefined ? { error } : { error, alarm: text });
  }

  #warnLate(): void {
    const { clock, logger } = this.#options;
    const now = clock.wall();
    if (this.#held === undefined || !isNearEnd(this.#held, now)) return;
    const { notAfter } = this.#held.credentials;
    const { error, alarm: known } = this.#fault.value;
    const text = `the certificate ${notAfter > now ? "expires" : "expired"} at ${timestamp(notAfter)} and cannot be renewed: ${error ?? ""}`;
    if (known === undefined) logger.error({ reason: error }, text);
    this.#fault.set({ ...this.#fault.value, alarm: text });
  }
}

/** What a person can do where nothing can be tried. */
function howToEnrol(latest: Credentials | undefined): string {
  const advice =
    "make one with `wherry token create` and start the sidecar with it";
  return latest === undefined
    ? `there is no certificate and no token: ${advice}`
    : `the certificate expired at ${timestamp(latest.notAfter)} and there is no token to enrol with again: ${advice}`;
}

function expiryNote(latest: Credentials | undefined, now: WallMs): string {
  if (latest === undefined) return "";
  const verb = isValid(latest, now) ? "is valid until" : "expired at";
  return ` (the certificate ${verb} ${timestamp(latest.notAfter)})`;
}

/** Milliseconds. Tries come closer when the certificate is short-lived or near its end. */
function longestWait(latest: Credentials | undefined, now: WallMs): number {
  const left = latest === undefined ? Infinity : latest.notAfter - now;
  return left <= 0
    ? RETRY.max
    : Math.max(RETRY.base, Math.min(RETRY.max, left / 10));
}

function isValid(credentials: Credentials, now: WallMs): boolean {
  return now >= credentials.notBefore && now < credentials.notAfter;
}

function until(clock: Clock, wall: WallMs, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      cancel();
      reject(signal.reason as Error);
    };
    const cancel = alarm(clock, wall, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

async function readStored(
  directory: StateDirectory,
  clock: Clock,
  logger: Logger,
): Promise<Credentials | undefined> {
  const stored = await directory.read(CREDENTIALS_FILE);
  if (stored.kind === "none") return undefined;
  if (stored.kind === "damaged") {
    logger.error(
      { reason: stored.reason },
      "the certificate on disk cannot be used",
    );
    return undefined;
  }
  if (stored.warning !== undefined) logger.warn(stored.warning);
  try {
    const pems = stored.content as Partial<CredentialPems>;
    const { certificateChain = "", privateKey = "", trustBundle = "" } = pems;
    return loadCredentials(
      { certificateChain, privateKey, trustBundle },
      clock.wall(),
    );
  } catch (thrown) {
    logger.error(
      { reason: messageOf(thrown) },
      "the certificate on disk cannot be used",
    );
    return undefined;
  }
}
