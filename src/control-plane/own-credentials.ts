/** The control plane's own certificate, as the sidecars expect it, renewed before it is half spent, and where its clock has jumped out of it. */
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SpiffeUri } from "../core/units.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import { readCertificates } from "../identity/pem.ts";
import { proofOf, type Revoked } from "../identity/revoked.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import { ROOT_NAMESPACE } from "../resources/envelope.ts";

export interface OwnCredentials {
  readonly credentials: Watch<Credentials>;
  /** This machine's clock has jumped. */
  clockJumped(): void;
  /** Other roots are trusted, or it is to be issued under another one. */
  trustMoved(): void;
  close(): void;
}

/** Where the control plane stands among the identities. */
export const CONTROL_PLANE_ACCOUNT = "control-plane";

const LONGEST_RETRY = 600_000;
/** Milliseconds: an authority at its end gives certificates with hardly a life, and is not asked without pause. */
const SHORTEST_WAIT = 10_000;

export function keepOwnCredentials(options: {
  /** Issued by the authority. */
  readonly own: (spiffeId: SpiffeUri) => Credentials;
  /** A certificate that is put out is replaced at once: sidecars take it no longer. Absent: none is. */
  readonly revoked?: Watch<Revoked>;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}): OwnCredentials {
  const { own, revoked, trustDomain, clock, logger } = options;
  const spiffe = {
    trustDomain,
    namespace: ROOT_NAMESPACE,
    serviceAccount: CONTROL_PLANE_ACCOUNT,
  };
  const id = formatSpiffeId(spiffe);
  const source = watchSource(own(id));
  let cancel: Cancel = () => undefined;
  /** Half of what is left, as it was made: the authority sets notBefore back, and cuts notAfter to its own end. */
  const plan = (share: number, longest = Infinity): void => {
    const left = Math.max(0, source.value.notAfter - clock.wall());
    const ms = Math.max(SHORTEST_WAIT, Math.min(longest, left * share));
    cancel();
    cancel = clock.after(ms, renew);
  };
  const renew = (): void => {
    try {
      source.set(own(id));
      plan(1 / 2);
    } catch (thrown) {
      // The present one is good for hours yet; this is tried again, and the log tells until it works.
      logger.error(
        { reason: messageOf(thrown), notAfter: source.value.notAfter },
        "the control plane's own certificate cannot be renewed",
      );
      plan(1 / 20, LONGEST_RETRY);
    }
  };
  plan(1 / 2);
  const leave = revoked?.subscribe((next) => {
    const [leaf] = readCertificates(source.value.certificateChain, "own");
    const fault =
      leaf && next.faultOf(proofOf(leaf, id, spiffe), [clock.wall()]);
    if (fault === undefined) return;
    logger.warn({ reason: fault }, "the control plane takes a new certificate");
    renew();
  });
  return {
    credentials: source,
    clockJumped() {
      const { notBefore, notAfter } = source.value;
      const now = clock.wall();
      // Sidecars whose clocks are right see it as it is: a jump alone takes nothing from it.
      if (now < notBefore || now >= notAfter) renew();
    },
    trustMoved: renew,
    close() {
      cancel();
      leave?.();
    },
  };
}
