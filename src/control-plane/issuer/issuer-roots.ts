/** The roots of an external issuer, as the operator has put them into a file: read at the start, and followed. No response of the issuer adds one. */
import type { X509Certificate } from "node:crypto";
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { readTrusted } from "../../core/secret-file.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import { authorityFault, isSignedBy } from "../../identity/chain.ts";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";

export interface IssuerRootsOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Milliseconds between two looks. What is written just now looks otherwise the next time, and is not used yet. */
export const LOOK_AT_ROOTS = 5000;
const MOST = 8;

/** Throws UserError. */
export async function openIssuerRoots(
  options: IssuerRootsOptions,
): Promise<IssuerRoots> {
  const { file } = options;
  const text = await readText(file);
  return new IssuerRoots(options, text, rootsIn(text, file));
}

export class IssuerRoots {
  readonly #options: IssuerRootsOptions;
  readonly #roots: WatchSource<readonly X509Certificate[]>;
  readonly #stop: Cancel;
  /** Resolves when the latest look is over. */
  latestLook: Promise<void> = Promise.resolve();
  #text: string;
  /** What the file had at the last look, where that is not in use. */
  #seen: string | undefined;
  #told = "";

  constructor(
    options: IssuerRootsOptions,
    text: string,
    roots: readonly X509Certificate[],
  ) {
    this.#options = options;
    this.#text = text;
    this.#roots = watchSource(roots);
    this.#stop = options.clock.every(LOOK_AT_ROOTS, () => {
      this.latestLook = this.#look();
    });
  }

  /** The first is the one under which certificates are to be. */
  get roots(): Watch<readonly X509Certificate[]> {
    return this.#roots;
  }

  close(): void {
    this.#stop();
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { file, logger } = this.#options;
    try {
      const text = await readText(file);
      const isSettled = text === this.#seen;
      this.#seen = text;
      if (text === this.#text || !isSettled) return;
      const next = rootsIn(text, file);
      const fault = newFirstFault(this.#roots.value, next, file);
      if (fault !== undefined) throw new UserError(fault);
      this.#text = text;
      this.#told = "";
      logger.warn(
        { roots: next.map(fingerprintOf) },
        "the roots of the external issuer are others",
      );
      this.#roots.set(next);
    } catch (thrown) {
      const reason = messageOf(thrown);
      if (reason !== this.#told)
        logger.error(
          { reason },
          "the roots of the external issuer stay as they are",
        );
      this.#told = reason;
    }
  }
}

/** Nothing is issued under a root that sidecars have not been told of. */
function newFirstFault(
  present: readonly X509Certificate[],
  [first]: readonly X509Certificate[],
  file: string,
): string | undefined {
  const known = new Set(present.map(fingerprintOf));
  return first === undefined || known.has(fingerprintOf(first))
    ? undefined
    : `--issuer-roots ${file}: its first root is new, and no sidecar has it: put it last, and first once wherry ca status shows that every sidecar has acknowledged it`;
}

async function readText(file: string): Promise<string> {
  try {
    return await readTrusted(file);
  } catch (thrown) {
    throw new UserError(`--issuer-roots ${file}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function rootsIn(text: string, file: string): readonly X509Certificate[] {
  const roots = readCertificates(text, `--issuer-roots ${file}`);
  if (roots.length > MOST)
    throw new UserError(
      `--issuer-roots ${file}: expected at most ${MOST} roots`,
    );
  for (const root of roots) {
    const fault =
      authorityFault(root, 0) ??
      (isSignedBy(root, root)
        ? undefined
        : "it is not self-signed: give the root");
    if (fault !== undefined)
      throw new UserError(`--issuer-roots ${file}: ${fault}`);
  }
  return roots;
}
