/**
 * Live connections of the mesh, judged again when trust changes: a certificate that is revoked, or whose root is retired, carries nothing
 * more. Nothing of it is on the path of a request.
 *
 * ```
 *   trust changes ─▶ each connection, some in a turn ─▶ stands
 *                                                     └▶ falls: `stop` at once (no new calls) ─▶ after CUT_AFTER: `cut`
 * ```
 */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Cancel, Clock } from "../../core/clock.ts";
import { watchSource, type Watch } from "../../core/watch.ts";
import { chainFault, isSignedBy } from "../../identity/chain.ts";
import { uriNames } from "../../identity/extensions.ts";
import { losesRoots, readCertificates } from "../../identity/pem.ts";
import { proofOf, Revoked, type Proof } from "../../identity/revoked.ts";
import { parseSpiffeId } from "../../identity/spiffe.ts";
import type { TrustSet } from "../../identity/trust.ts";
import type { MonotonicMs, WallMs } from "../../core/units.ts";
import { presentedChain } from "./tls-context.ts";

/** Milliseconds that calls in flight have from the judgement on; with what a change needs to get here they stay below 5 s. */
export const CUT_AFTER = 3000;
/** Milliseconds: no handshake takes longer. */
const LATE = 30_000;
/** Connections that are judged in one turn of the event loop: to verify a signature takes a tenth of a millisecond. */
const SLICE = 32;

/** What becomes of a connection that no longer stands. `fault` says why. */
export interface LiveEnd {
  /** It is to carry no new call. */
  stop(fault: string): void;
  /** Its root is retired, or its trust domain: it ends like a connection that is replaced, and what was sent on it before its end hears of that is served. */
  drain(): void;
  /** Whatever it still carries is broken off; it may have ended before. */
  cut(fault: string): void;
}

/** The certificate is revoked, or its root or its trust domain is retired. */
type Fault = "revoked" | "retired";

function faultAs(
  kind: Fault,
  fault: string | undefined,
): readonly [Fault, string] | undefined {
  return fault === undefined ? undefined : [kind, fault];
}

interface Live {
  readonly socket: Socket;
  readonly end: LiveEnd;
  /** What the mesh says of the other end, where that proves nothing. */
  readonly claim: Proof | undefined;
}

/** What a round of judgement goes by. */
interface Round {
  readonly next: TrustSet;
  readonly before: Revoked;
  /** Undefined where no root was taken out. */
  readonly roots: RootCheck | undefined;
  /** Trust domains that were taken out. */
  readonly lost: ReadonlySet<string>;
  readonly rest: Live[];
}

export interface LiveOptions {
  readonly clock: Clock;
  readonly trust: Watch<TrustSet | undefined>;
  /** By which clocks a revocation may be over. */
  readonly times: () => readonly WallMs[];
}

export class LiveConnections {
  readonly #options: LiveOptions;
  readonly #live = new Map<Socket, Live>();
  readonly #fallen = watchSource(0);
  readonly #stopFollowing: Cancel;
  #judged: TrustSet | undefined;
  #round: Round | undefined;
  /** The roots of now, where some were taken out, and how long handshakes of before may still come. */
  #retired:
    | { readonly roots: RootCheck; readonly until: MonotonicMs }
    | undefined;
  #next: Cancel | undefined;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#judged = options.trust.value;
    this.#stopFollowing = options.trust.subscribe((next) => this.#begin(next));
  }

  /** What the next handshake is judged by. */
  get revoked(): Revoked {
    return this.#options.trust.value?.revoked ?? Revoked.NONE;
  }

  /** How many have fallen: changes once some have, after they were stopped. */
  get fallen(): Watch<number> {
    return this.#fallen;
  }

  /**
   * A connection lives until its socket closes. Over TLS it stands as long as the certificate does that the peer presented; `claim`: what
   * is known of the other end in its place.
   */
  enter(socket: Socket, end: LiveEnd, claim?: Proof): void {
    if (socket.destroyed) return;
    const live = { socket, end, claim };
    this.#live.set(socket, live);
    socket.on("close", () => this.#live.delete(socket));
    // A round in progress began before it was judged by its handshake, maybe.
    if (this.#round !== undefined) this.#round.rest.push(live);
    else this.#judgeLate(live);
  }

  close(): void {
    this.#stopFollowing();
    this.#next?.();
    this.#live.clear();
  }

  /** OpenSSL went by the roots that there were when the handshake began. */
  #judgeLate(live: Live): void {
    const { roots, until } = this.#retired ?? {};
    const { clock } = this.#options;
    const next = this.#judged;
    if (until === undefined || next === undefined || clock.now() > until)
      return;
    const before = next.revoked;
    this.#round = { next, before, roots, lost: new Set(), rest: [live] };
    this.#next = clock.after(0, this.#goOn);
  }

  /** A change in the midst of a round: one more looks at all, from what the first began with, and first at those that wait longest. */
  #begin(next: TrustSet | undefined): void {
    if (next === undefined) return;
    const unfinished = this.#round;
    const before = unfinished?.before ?? this.#judged?.revoked ?? Revoked.NONE;
    const was = this.#judged?.trustBundle;
    const now = this.#options.clock.now();
    const loses = was !== undefined && losesRoots(was, next.trustBundle);
    const until = loses ? now + LATE : (this.#retired?.until ?? -Infinity);
    const roots =
      now <= until || unfinished?.roots !== undefined
        ? new RootCheck(next.trustBundle)
        : undefined;
    const lost = lostDomains(this.#judged, next, unfinished?.lost);
    this.#judged = next;
    this.#retired = roots === undefined ? undefined : { roots, until };
    this.#next?.();
    const waiting = unfinished?.rest ?? [];
    const waits = new Set(waiting);
    const others = [...this.#live.values()].filter((each) => !waits.has(each));
    this.#round = { next, before, roots, lost, rest: [...others, ...waiting] };
    const fewer = roots !== undefined || lost.size > 0;
    if (fewer || next.revoked.goesBeyond(before)) this.#goOn();
    else this.#round = undefined;
  }

  readonly #goOn = (): void => {
    this.#next = undefined;
    const round = this.#round;
    if (round === undefined) return;
    let fell = 0;
    for (let looked = 0; looked < SLICE; looked += 1) {
      const live = round.rest.pop();
      if (live === undefined) break;
      const fault = this.#faultOf(live, round);
      if (fault === undefined) continue;
      fell += 1;
      this.#fall(live, ...fault);
    }
    if (round.rest.length > 0)
      this.#next = this.#options.clock.after(0, this.#goOn);
    else this.#round = undefined;
    if (fell > 0) this.#fallen.set(this.#fallen.value + fell);
  };

  #faultOf(
    { socket, claim }: Live,
    { next: { revoked }, before, roots, lost }: Round,
  ): readonly [Fault, string] | undefined {
    if (socket.destroyed) return undefined;
    const { clock, times } = this.#options;
    if (claim !== undefined)
      return faultAs("revoked", revoked.claimFault(claim, times(), before));
    if (!(socket instanceof TLSSocket)) return undefined;
    const chain = presentedChain(socket);
    const [leaf] = chain;
    if (leaf === undefined) return undefined;
    const [uri] = uriNames(leaf);
    const id = uri === undefined ? undefined : parseSpiffeId(uri);
    if (uri === undefined || id === undefined) return undefined;
    return (
      faultAs("revoked", revoked.faultOf(proofOf(leaf, uri, id), times())) ??
      (lost.has(id.trustDomain)
        ? ["retired", `the trust domain ${id.trustDomain} is taken out`]
        : faultAs("retired", roots?.faultOf(chain, clock.wall())))
    );
  }

  #fall({ socket, end }: Live, kind: Fault, fault: string): void {
    this.#live.delete(socket);
    const cancel = this.#options.clock.after(CUT_AFTER, () => end.cut(fault));
    socket.on("close", cancel);
    if (kind === "revoked") end.stop(fault);
    else end.drain();
  }
}

/** What counted as the own trust domain until now, and does not any more. */
function lostDomains(
  before: TrustSet | undefined,
  { trustDomains: now = [] }: TrustSet,
  more: ReadonlySet<string> = new Set(),
): ReadonlySet<string> {
  const lost = new Set([...(before?.trustDomains ?? []), ...more]);
  for (const each of now) lost.delete(each);
  return lost;
}

/** Whether chains that OpenSSL verified once lead to one of these roots: what many leaves have above them is looked at once. */
class RootCheck {
  readonly #roots: readonly X509Certificate[];
  /** By the fingerprints of what is above the leaf. */
  readonly #known = new Map<string, string | undefined>();

  constructor(trustBundle: string) {
    this.#roots = readCertificates(trustBundle, "trust bundle");
  }

  /** Dates are not judged again: a connection has a timer for the end of its certificate. */
  faultOf(
    [leaf, ...above]: readonly X509Certificate[],
    now: WallMs,
  ): string | undefined {
    if (leaf === undefined) return undefined;
    const issuer = above.find((each) => isSignedBy(leaf, each));
    if (issuer === undefined) return this.#climb([leaf], now);
    const others = above.filter((each) => each !== issuer);
    const chain = [issuer, ...others];
    const key = chain.map(({ fingerprint256 }) => fingerprint256).join(" ");
    if (!this.#known.has(key)) this.#known.set(key, this.#climb(chain, now));
    return this.#known.get(key);
  }

  #climb(chain: readonly X509Certificate[], now: WallMs): string | undefined {
    const from = chain.map(({ validFromDate }) => validFromDate.getTime());
    const to = chain.map(({ validToDate }) => validToDate.getTime());
    const then = Math.min(Math.max(now, ...from), ...to);
    const fault = chainFault(chain, this.#roots, then);
    return fault === undefined
      ? undefined
      : `its root is no longer trusted: ${fault}`;
  }
}
