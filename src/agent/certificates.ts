/** Keeps the sidecar's certificate fresh: from disk, by enrolment, by renewal; tries on while the control plane is away, and says so in time. */
import { equalJitter } from "../core/backoff.ts";
import { timestamp, wait, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import {
  loadCredentials,
  type CredentialPems,
  type Credentials,
} from "../identity/credentials.ts";
import { alarm } from "../push/alarm.ts";
import { enrol, renew } from "./enrol.ts";
import { isNearEnd, renewalTime, type Held } from "./renewal.ts";
import type { StateDirectory } from "./state-directory.ts";

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

export interface Certificates {
  /** Undefined until there is a certificate that is valid. */
  readonly credentials: Watch<Credentials | undefined>;
  /** The last there was, valid or not: it says who this sidecar is. */
  readonly latest: Credentials | undefined;
  readonly fault: Watch<CertificatesFault>;
  close(): Promise<void>;
}

/** Milliseconds between tries. */
const RETRY = { base: 500, max: 60_000 } as const;

/** Resolves once the disk is read; the network is the background's business. */
export async function startCertificates(
  options: CertificatesOptions,
): Promise<Certificates> {
  const { clock, logger, directory, address } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const fault = watchSource<CertificatesFault>({});
  const stored = await readStored(directory, clock, logger);
  let held: Held | undefined =
    stored === undefined
      ? undefined
      : { credentials: stored, since: stored.notBefore };
  const credentials = watchSource(
    stored !== undefined && isValid(stored, clock) ? stored : undefined,
  );

  const failed = (error: string): void => {
    if (fault.value.error !== error)
      logger.warn({ reason: error }, "no new certificate");
    const { alarm: text } = fault.value;
    fault.set(text === undefined ? { error } : { error, alarm: text });
  };

  /** In order, and apart: a slow disk delays no renewal. */
  let writing: Promise<void> = Promise.resolve();
  const write = async ({
    certificateChain,
    privateKey,
    trustBundle,
  }: Credentials): Promise<void> => {
    const content = { certificateChain, privateKey, trustBundle };
    try {
      await directory.write(CREDENTIALS_FILE, content);
    } catch (thrown) {
      failed(
        `the certificate cannot be kept in ${directory.path}: ${messageOf(thrown)}; without it this sidecar cannot restart while the control plane is away`,
      );
    }
  };

  const take = (next: Credentials): void => {
    held = { credentials: next, since: clock.wall() };
    credentials.set(next);
    fault.set({});
    logger.info(
      { identity: next.id, expiresAt: timestamp(next.notAfter) },
      "a new certificate is in use",
    );
    writing = writing.then(() => write(next));
  };

  /** One try; undefined where there is nothing to try with. */
  const obtain = (): Promise<Credentials> | undefined => {
    if (held !== undefined && isValid(held.credentials, clock))
      return renew({ address, credentials: held.credentials, clock, signal });
    credentials.set(undefined);
    const { token, name } = options;
    return token === undefined
      ? undefined
      : enrol({ address, token, name, clock, signal });
  };

  const whatToDo = (): string =>
    held === undefined
      ? "there is no certificate and no token: make one with `wherry token create` and start the sidecar with it"
      : `the certificate expired at ${timestamp(held.credentials.notAfter)} and there is no token to enrol with again: make one with \`wherry token create\` and start the sidecar with it`;

  const run = async (): Promise<void> => {
    for (;;) {
      if (held !== undefined && isValid(held.credentials, clock))
        await until(
          clock,
          renewalTime(held, options.rotateAt(), clock),
          signal,
        );
      for (let attempt = 1; ; attempt += 1) {
        const trying = obtain();
        if (trying === undefined) {
          failed(whatToDo());
          return;
        }
        try {
          take(await trying);
          break;
        } catch (thrown) {
          if (signal.aborted) throw thrown;
          failed(
            `${messageOf(thrown)}${held === undefined ? "" : ` (the certificate ${isValid(held.credentials, clock) ? "is valid until" : "expired at"} ${timestamp(held.credentials.notAfter)})`}`,
          );
        }
        warnLate();
        await wait(
          clock,
          equalJitter({ ...RETRY, max: longestWait() }, attempt, clock),
          signal,
        );
      }
    }
  };

  /** Tries come closer when the certificate is short-lived or near its end. */
  const longestWait = (): number => {
    const left =
      held === undefined ? Infinity : held.credentials.notAfter - clock.wall();
    return left <= 0
      ? RETRY.max
      : Math.max(RETRY.base, Math.min(RETRY.max, left / 10));
  };

  const warnLate = (): void => {
    if (held === undefined || !isNearEnd(held, clock.wall())) return;
    const { notAfter } = held.credentials;
    const text = `the certificate ${notAfter > clock.wall() ? "expires" : "expired"} at ${timestamp(notAfter)} and cannot be renewed: ${fault.value.error ?? ""}`;
    if (fault.value.alarm === undefined)
      logger.error({ reason: fault.value.error }, text);
    fault.set({ ...fault.value, alarm: text });
  };

  const running = run().catch((thrown: unknown) => {
    if (!signal.aborted)
      logger.error(
        { reason: messageOf(thrown) },
        "the certificate is not renewed any more: a defect",
      );
  });

  return {
    credentials,
    get latest() {
      return held?.credentials;
    },
    fault,
    async close() {
      stop.abort(new Error("the sidecar is stopping"));
      await running;
      await writing;
    },
  };
}

function isValid(credentials: Credentials, clock: Clock): boolean {
  const now = clock.wall();
  return now >= credentials.notBefore && now < credentials.notAfter;
}

function until(clock: Clock, wall: number, signal: AbortSignal): Promise<void> {
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
