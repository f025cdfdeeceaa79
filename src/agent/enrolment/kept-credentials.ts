/** The sidecar's certificate on its disk: read at start, valid or not, and written in the order of its renewals. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { WallMs } from "../../core/units.ts";
import { loadCredentials } from "../../identity/credentials.ts";
import type { Held } from "./renewal.ts";
import type { StateDirectory } from "../state-directory.ts";

export const CREDENTIALS_FILE = "credentials.json";

/** Undefined where there is none, or none that can be used; the log says why. */
export async function readCredentials(
  directory: StateDirectory,
  clock: Clock,
  logger: Logger,
): Promise<Held | undefined> {
  const stored = await directory.read(CREDENTIALS_FILE);
  if (stored.kind === "none") return undefined;
  try {
    if (stored.kind === "damaged") throw new Error(stored.reason);
    if (stored.warning !== undefined) logger.warn(stored.warning);
    return load(stored.content as Readonly<Record<string, unknown>>, clock);
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
  { credentials, since }: Held,
): Promise<void> {
  const { certificateChain, privateKey, trustBundle } = credentials;
  const content = { certificateChain, privateKey, trustBundle, since };
  await directory.write(CREDENTIALS_FILE, content);
}

/** Throws UserError. Until a control plane says what time it is, it is what this machine's clock says now, whatever that does later. */
function load(
  {
    certificateChain,
    privateKey,
    trustBundle,
    since,
  }: Readonly<Record<string, unknown>>,
  clock: Clock,
): Held {
  const wall: WallMs = clock.wall();
  const text = (value: unknown): string =>
    typeof value === "string" ? value : "";
  const loaded = loadCredentials(
    {
      certificateChain: text(certificateChain),
      privateKey: text(privateKey),
      trustBundle: text(trustBundle),
    },
    wall,
  );
  return {
    credentials: { ...loaded, meshTime: { wall, at: clock.now() } },
    since: typeof since === "number" ? since : loaded.notBefore,
  };
}
