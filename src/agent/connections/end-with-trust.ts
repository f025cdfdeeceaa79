/** When the connection to the control plane ends because of what is trusted: a renewed certificate, a root that goes, a server that is revoked. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { losesRoots } from "../../identity/pem.ts";
import type { Proof, Revoked } from "../../identity/revoked.ts";
import { timesOf } from "../../identity/trust.ts";

interface TrustOptions {
  readonly credentials: Watch<Credentials | undefined>;
  /** What nobody accepts any more, the control plane's own certificates among it. */
  readonly revoked: Watch<Revoked>;
  readonly clock: Clock;
}

/** Milliseconds until a connection ends since a root has gone, or the control plane's certificate is revoked: its acknowledgement is on its way by then, and others end at other moments. */
const ANSWERED = 250;
const RETIRED = 1500;

/** By what the control plane has proved itself; nothing before the handshake is over. */
export interface Proven {
  by?: Proof;
}

/**
 * A root that goes may be the one under which the control plane has proved itself, and what is revoked its certificate: then, too, the
 * next connection is judged anew, though not by all sidecars at once.
 */
export function endWithTrust(
  { credentials: source, revoked, clock }: TrustOptions,
  credentials: Credentials,
  proven: Proven,
  over: AbortController,
): () => void {
  let cancel: Cancel | undefined;
  // What comes after that puts it off no further.
  const endSoon = (why: string): void => {
    cancel ??= clock.after(ANSWERED + RETIRED * clock.random(), () =>
      over.abort(new Error(why)),
    );
  };
  const leave = source.subscribe((next) => {
    if (next?.generation !== credentials.generation)
      over.abort(new Error("the certificate was renewed"));
    else if (losesRoots(credentials.trustBundle, next.trustBundle))
      endSoon("a root is not trusted any more");
  });
  const leaveRevoked = revoked.subscribe((next) => {
    const times = timesOf(credentials.meshTime, clock);
    const fault = proven.by && next.faultOf(proven.by, times);
    if (fault !== undefined) endSoon(`of the control plane: ${fault}`);
  });
  return () => {
    cancel?.();
    leave();
    leaveRevoked();
  };
}
