/** The certificate of a sidecar without a control plane, and the workload that it names: read from files or a Workload API, replaced when they change, and its end announced in time. */
import { readFile } from "node:fs/promises";
import { timestamp, type Cancel, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { readSecret, readTrusted } from "../../core/secret-file.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import {
  loadCredentials,
  type CredentialPems,
  type Credentials,
} from "../../identity/credentials.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import { alarm } from "../../push/alarm.ts";
import { describeSelf, type DeclaredSelf } from "../self.ts";

/** PEM files; the certificate's leaf first. */
export interface IdentityFiles {
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}

/** Where a certificate comes from. */
export interface CertificateSource {
  /** "in FILE", for messages, and what a person does about its end. */
  readonly where: string;
  readonly remedy: string;
  /** What it holds now. */
  read(): Promise<CredentialPems>;
}

export interface FileCertificateOptions {
  readonly source: CertificateSource;
  /** What the certificate does not bind itself. */
  readonly declared: DeclaredSelf;
  /** What is said of the certificate has changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rejects with UserError where what the source holds cannot be used. */
export async function openFileCertificate(
  options: FileCertificateOptions,
): Promise<FileCertificate> {
  const { source, clock } = options;
  return new FileCertificate(options, await readCredentials(source, clock));
}

export class FileCertificate {
  readonly #options: FileCertificateOptions;
  readonly #credentials: WatchSource<Credentials>;
  #self: SelfDescription;
  #error: string | undefined;
  #alarm: string | undefined;
  #cancelAlarm: Cancel = () => undefined;

  constructor(options: FileCertificateOptions, first: Credentials) {
    this.#options = options;
    this.#credentials = watchSource(first);
    this.#self = describeSelf(first, options.declared);
  }

  get credentials(): Watch<Credentials> {
    return this.#credentials;
  }

  /** Why the changed files are not used. */
  get error(): string | undefined {
    return this.#error;
  }

  /** It is not valid yet, or a quarter of its life is left. */
  get alarm(): string | undefined {
    return this.#alarm;
  }

  /** The workload that the certificate in use names. */
  get self(): SelfDescription {
    return this.#self;
  }

  /** Reads it again; true where what is read is in use now. Never rejects. */
  async reload(): Promise<boolean> {
    const { source, declared, onChange, clock, logger } = this.#options;
    try {
      const next = await readCredentials(source, clock);
      this.#self = describeSelf(next, declared);
      this.#error = undefined;
      this.#credentials.set(next);
      this.watchExpiry();
      logger.info(
        { identity: next.id, expiresAt: timestamp(next.notAfter) },
        "the changed certificate is in use",
      );
      return true;
    } catch (thrown) {
      // Three files are rarely replaced at one moment: the next one to change makes it whole.
      this.#error = `the changed certificate cannot be used: ${messageOf(thrown)}`;
      logger.error(
        { reason: messageOf(thrown) },
        "the changed certificate cannot be used; the one in use stays",
      );
      return false;
    } finally {
      onChange();
    }
  }

  /** Raises the alarm where the certificate in use is not valid yet, and when a quarter of its life is left. */
  watchExpiry(): void {
    const { source, onChange, clock } = this.#options;
    const { notBefore, notAfter } = this.#credentials.value;
    this.#cancelAlarm();
    this.#alarm = undefined;
    if (clock.wall() < notBefore) {
      this.#raise(
        `the certificate ${source.where} is not valid before ${timestamp(notBefore)}, and no peer accepts it until then: check the clock of this machine`,
      );
      this.#cancelAlarm = alarm(clock, notBefore, () => {
        this.watchExpiry();
        onChange();
      });
      return;
    }
    const nearEnd = notAfter - (notAfter - notBefore) / 4;
    this.#cancelAlarm = alarm(clock, nearEnd, () => {
      const verb = clock.wall() < notAfter ? "expires" : "expired";
      this.#raise(
        `the certificate ${source.where} ${verb} at ${timestamp(notAfter)}: ${source.remedy}`,
      );
    });
  }

  close(): void {
    this.#cancelAlarm();
  }

  #raise(text: string): void {
    this.#alarm = text;
    this.#options.logger.error(text);
    this.#options.onChange();
  }
}

/** The source of PEM files. */
export function certificateFiles({
  certificate,
  privateKey,
  trustBundle,
}: IdentityFiles): CertificateSource {
  return {
    where: `in ${certificate}`,
    remedy: "put its successor there",
    read: async () => ({
      certificateChain: await readText(certificate),
      privateKey: await readSecret(privateKey, "the private key"),
      trustBundle: await readText(trustBundle, readTrusted),
    }),
  };
}

async function readText(
  file: string,
  read = (path: string): Promise<string> => readFile(path, "utf8"),
): Promise<string> {
  try {
    return await read(file);
  } catch (thrown) {
    throw new UserError(`${file} cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

async function readCredentials(
  source: CertificateSource,
  clock: Clock,
): Promise<Credentials> {
  const pems = await source.read();
  const wall = clock.wall();
  // Nobody else tells the time: a later jump of this machine's clock ends no certificate.
  const meshTime = { wall, at: clock.now() };
  return { ...loadCredentials(pems, wall), meshTime };
}
