/** The sidecar's certificate on its disk: read at start, valid or not, and written in the order of its renewals. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { isObject } from "../../core/text/json.ts";
import {
  loadCredentials,
  type BundleOrigin,
  type CredentialPems,
  type Credentials,
} from "../../identity/credentials.ts";
import type { Held } from "./renewal.ts";
import type { StateDirectory } from "../state-directory.ts";

export const CREDENTIALS_FILE = "credentials.json";

export interface KeptCredentials {
  /** The newest. */
  readonly held: Held;
  /** What peers were shown in its place, where that was another one. */
  readonly inUse: Credentials | undefined;
}

/** Undefined where there is none, or none that can be used; the log says why. */
export async function readCredentials(
  directory: StateDirectory,
  clock: Clock,
  logger: Logger,
): Promise<KeptCredentials | undefined> {
  const stored = await directory.read(CREDENTIALS_FILE);
  if (stored.kind === "none") return undefined;
  try {
    if (stored.kind === "damaged") throw new Error(stored.reason);
    if (stored.warning !== undefined) logger.warn(stored.warning);
    const content = stored.content as Content;
    const credentials = load(content, clock);
    const { since, inUse } = content;
    return {
      held: {
        credentials,
        since: typeof since === "number" ? since : credentials.notBefore,
      },
      inUse: inUse === undefined ? undefined : loadBefore(inUse, clock),
    };
  } catch (thrown) {
    logger.error(
      { reason: messageOf(thrown) },
      "the certificate on disk cannot be used",
    );
    return undefined;
  }
}

/** Rejects where the disk takes no more. */
export async function writeCredentials(
  directory: StateDirectory,
  { held, inUse }: KeptCredentials,
): Promise<void> {
  const { credentials, since } = held;
  const isOther = inUse?.generation !== credentials.generation;
  const { bundle } = credentials;
  await directory.write(CREDENTIALS_FILE, {
    ...pemsOf(credentials),
    since,
    ...(bundle === undefined ? {} : { bundle }),
    ...(inUse !== undefined && isOther ? { inUse: pemsOf(inUse) } : {}),
  });
}

type Content = Partial<CredentialPems> & {
  readonly since?: unknown;
  readonly bundle?: unknown;
  readonly inUse?: Partial<CredentialPems>;
};

function pemsOf(credentials: Credentials): CredentialPems {
  const { certificateChain, privateKey, trustBundle } = credentials;
  return { certificateChain, privateKey, trustBundle };
}

/** The one before is worth something only while it leads to a root. */
function loadBefore(
  pems: Partial<CredentialPems>,
  clock: Clock,
): Credentials | undefined {
  try {
    return load(pems, clock);
  } catch {
    return undefined;
  }
}

/** Undefined where the file is of a sidecar that had no signed bundle. */
function bundleOf(bundle: unknown): BundleOrigin | undefined {
  if (!isObject(bundle)) return undefined;
  const { serial, issuer, renewWithin } = bundle;
  return typeof serial === "number" &&
    typeof issuer === "string" &&
    typeof renewWithin === "number"
    ? { serial, issuer, renewWithin }
    : undefined;
}

/** Throws UserError. Until a control plane says what time it is, it is what this machine's clock says now, whatever that does later. */
function load(
  {
    certificateChain = "",
    privateKey = "",
    trustBundle = "",
    bundle: kept,
  }: Omit<Content, "inUse">,
  clock: Clock,
): Credentials {
  const wall = clock.wall();
  const bundle = bundleOf(kept);
  return {
    ...loadCredentials({ certificateChain, privateKey, trustBundle }, wall),
    ...(bundle === undefined ? {} : { bundle }),
    meshTime: { wall, at: clock.now() },
  };
}
