/** The control plane's own certificate, renewed at half of its life for as long as it runs. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { watchSource, type Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { alarm } from "../../push/alarm.ts";

export interface OwnCredentials {
  readonly credentials: Watch<Credentials>;
  close(): void;
}

/** Milliseconds after a failed renewal. */
const AGAIN = 60_000;

/** `issue` gives new ones at each call; the first call may throw, later failures are logged and repeated. */
export function keepOwnCredentials(options: {
  readonly issue: () => Credentials;
  readonly clock: Clock;
  readonly logger: Logger;
}): OwnCredentials {
  const { issue, clock, logger } = options;
  const credentials = watchSource(issue());
  const renew = (): void => {
    try {
      credentials.set(issue());
    } catch (thrown) {
      logger.error(
        {
          reason: messageOf(thrown),
          expiresAt: credentials.value.notAfter,
        },
        "the control plane's own certificate cannot be renewed; trying again",
      );
    }
    cancel = alarm(clock, nextTime(), renew);
  };
  const nextTime = (): number => {
    const { notBefore, notAfter } = credentials.value;
    const half = notBefore + (notAfter - notBefore) / 2;
    return Math.max(half, clock.wall() + AGAIN);
  };
  let cancel = alarm(clock, nextTime(), renew);
  return { credentials, close: () => cancel() };
}
