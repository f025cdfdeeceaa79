/** The control plane's own certificate, as the sidecars expect it, renewed before it is half spent. */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import { ROOT_NAMESPACE } from "../resources/envelope.ts";

export interface OwnCredentials {
  readonly credentials: Watch<Credentials>;
  close(): void;
}

/** Where the control plane stands among the identities. */
export const CONTROL_PLANE_ACCOUNT = "control-plane";

const CHECK_EVERY = 600_000;

export function keepOwnCredentials(options: {
  /** Of the authority. */
  readonly own: (spiffeId: string) => Credentials;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}): OwnCredentials {
  const { own, trustDomain, clock, logger } = options;
  const id = formatSpiffeId({
    trustDomain,
    namespace: ROOT_NAMESPACE,
    serviceAccount: CONTROL_PLANE_ACCOUNT,
  });
  const source = watchSource(own(id));
  const close = clock.every(CHECK_EVERY, () => {
    const { notBefore, notAfter } = source.value;
    if (clock.wall() < (notBefore + notAfter) / 2) return;
    try {
      source.set(own(id));
    } catch (thrown) {
      // The present one is good for hours yet; this is tried again, and the log tells until it works.
      logger.error(
        { reason: messageOf(thrown), notAfter },
        "the control plane's own certificate cannot be renewed",
      );
    }
  });
  return { credentials: source, close };
}
