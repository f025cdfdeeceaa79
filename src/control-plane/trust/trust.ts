/** The roots of the mesh: which are trusted, which one issues, and the signed bundle that says so to the sidecars. Each step of a rotation is kept in the store before it acts. */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import { readCertificates } from "../../identity/pem.ts";
import { formatSpiffeId } from "../../identity/spiffe.ts";
import type { SignedBundle, TrustBundle } from "../../identity/trust-bundle.ts";
import type {
  Authority,
  AuthorityOptions,
  SignedCertificate,
  SigningRequest,
} from "../authority/authority.ts";
import {
  makeSuccessor,
  openSuccession,
  promote,
  type Succession,
} from "../authority/succession.ts";
import type { ExternalIssuer } from "../issuer/external-issuer.ts";
import type { SignedBy } from "../issuer/signed-by.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import { trustField } from "../push/push-messages.ts";
import type { TrustOffer } from "../push/trust-push.ts";
import { CONTROL_PLANE } from "../../push/names.ts";
import type { EnrolmentToken } from "../../push/token.ts";
import type { Store } from "../store/store.ts";
import { checkIssuer, externalRoots, ROTATED_ELSEWHERE } from "./external.ts";
import { fingerprintsOf, recordExternal, rootsOf } from "./roots.ts";
import type { Phase, Rotation } from "./rotation.ts";
import { readNote, TRUST_NOTE, type TrustNote } from "./trust-note.ts";

export interface TrustOptions extends AuthorityOptions {
  readonly store: Pick<Store, "note" | "setNote" | "record">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Absent: the authority of the directory issues, and its roots are all there are. */
  readonly issuer?: ExternalIssuer;
}

/** Milliseconds that a renewal costs the control plane, with room for all else; and the bounds of the time over which those of all sidecars spread. */
const RENEWAL = 20;
const SPREAD = { least: 1000, most: 600_000 } as const;

/** Reads the authority's directory and what the store says of a rotation; makes an authority where there is none. Throws UserError. */
export async function openTrust(options: TrustOptions): Promise<Trust> {
  const { store, clock, logger } = options;
  const known = readNote(await store.note(TRUST_NOTE));
  const issues = known?.rotation?.phase === "reissue";
  const succession = await openSuccession(options, issues);
  const rotation = resumed(known?.rotation, succession, clock);
  if (known?.rotation !== undefined && rotation === undefined)
    logger.warn(
      { from: known.rotation.from, to: known.rotation.to },
      "the store tells of a rotation whose roots are not in the authority's directory, or begin later: it is forgotten",
    );
  checkIssuer(options.issuer, known, rotation);
  const trust = new Trust(options, succession, known);
  await trust.goOn(rotation);
  return trust;
}

/** The rotation that the directory bears out: a store that was lost, or is older, cannot take back a root that sidecars have. */
function resumed(
  known: Rotation | undefined,
  { current, next }: Succession,
  clock: Pick<Clock, "wall">,
): Rotation | undefined {
  const now = clock.wall();
  if (next !== undefined) {
    const [from, to] = [current.fingerprint, next.fingerprint];
    if (known?.from === from && known.to === to && known.phase !== "retire")
      return known;
    return {
      phase: "add",
      from,
      to,
      startedAt: now,
      since: now,
      abandoned: [],
    };
  }
  if (known?.to !== current.fingerprint) return undefined;
  return known.phase === "retire"
    ? known
    : { ...known, phase: "retire", since: now };
}

export class Trust {
  readonly #options: TrustOptions;
  #succession: Succession;
  #note: TrustNote;
  #roots = "";
  #signed: SignedBundle | undefined;
  /** When the chain ends by which it is signed. */
  #signersEnd: WallMs = -Infinity;
  readonly #offer: WatchSource<TrustOffer>;
  readonly #steps = new KeyedQueue();

  constructor(
    options: TrustOptions,
    succession: Succession,
    known: TrustNote | undefined,
  ) {
    this.#options = options;
    this.#succession = succession;
    this.#note = known ?? { serial: 0, roots: [], issuer: "", renewWithin: 0 };
    this.#offer = watchSource({ serial: 0, field: Buffer.alloc(0) });
  }

  /** PEM: every root that is trusted now. */
  get trustBundle(): string {
    return this.#roots;
  }

  /** SHA-256 of the DER of the root under which the control plane proves itself, hexadecimal: it changes when the old root is retired. */
  get fingerprint(): string {
    return this.#succession.current.fingerprint;
  }

  /** The same of the root that comes; undefined where none does. */
  get nextFingerprint(): string | undefined {
    return this.#succession.next?.fingerprint;
  }

  /** What an enrolment token carries: it works until the old root is retired, and after that where it was made in the rotation. */
  get fingerprints(): Pick<EnrolmentToken, "ca" | "next"> {
    const { fingerprint: ca, nextFingerprint: next } = this;
    return next === undefined ? { ca } : { ca, next };
  }

  /** Wall-clock milliseconds at which the root expires that the fingerprint is of. */
  get rootNotAfter(): number {
    const [root] = readCertificates(this.#roots, "root.crt");
    return root?.validToDate.getTime() ?? 0;
  }

  /** Wall-clock milliseconds at which the certificate that issues expires. */
  get issuingNotAfter(): number {
    return this.#issuer.issuingNotAfter;
  }

  get renewalFault(): string | undefined {
    return this.#issuer.renewalFault;
  }

  get signed(): SignedBundle {
    if (this.#signed === undefined) throw new Error("nothing is signed yet");
    return this.#signed;
  }

  /** What sidecars are to trust. */
  get offer(): Watch<TrustOffer> {
    return this.#offer;
  }

  get rotation(): Rotation | undefined {
    return this.#note.rotation;
  }

  /** Fingerprint of the root under which certificates are issued now. */
  get issuerRoot(): string {
    return this.#note.issuer;
  }

  /** Whether there are roots of an external issuer. */
  get isExternal(): boolean {
    return this.#options.issuer !== undefined;
  }

  get last(): TrustNote["last"] {
    return this.#note.last;
  }

  /** Undefined: by the authority of the directory. */
  get signedBy(): SignedBy | undefined {
    return this.#options.issuer?.signedBy;
  }

  /** Rejects where the request is unsound, nothing can be signed any more, or the external issuer gives no such certificate. */
  async sign(
    csrPem: string,
    request: SigningRequest,
    signal: AbortSignal,
  ): Promise<SignedCertificate> {
    const { issuer } = this.#options;
    if (issuer?.signs === true) return issuer.sign(csrPem, request, signal);
    const signed = this.#issuer.sign(csrPem, request);
    this.#followSigners();
    return signed;
  }

  /** The roots of the external issuer are others. */
  followIssuer(): Promise<void> {
    return this.#step(() =>
      this.#take(this.#succession, this.#note.rotation, {}),
    );
  }

  /** The control plane's own: under the root that every sidecar trusts, also one that was away. */
  own(spiffeId: SpiffeUri): Credentials {
    const own = this.#succession.current.own(spiffeId);
    this.#followSigners();
    return { ...own, trustBundle: this.trustBundle };
  }

  /**
   * At the start: what is trusted may be another set, by hand or by a step that a crash cut short. In the midst of a rotation it has a new
   * serial in any case: where the store is a copy of an earlier one, sidecars may have acknowledged more than it tells of.
   */
  goOn(rotation: Rotation | undefined): Promise<void> {
    return this.#step(() =>
      this.#take(this.#succession, rotation, { anew: rotation !== undefined }),
    );
  }

  /** Adds a new root. Throws UserError where a rotation is in progress, or is not this control plane's to begin. */
  async begin(): Promise<void> {
    if (this.#options.issuer?.signs === true)
      throw new UserError(ROTATED_ELSEWHERE);
    await this.#step(async () => {
      if (this.#note.rotation !== undefined)
        throw new UserError("a rotation of the root is in progress");
      const { current } = this.#succession;
      const next = await makeSuccessor(this.#options, current);
      const now = this.#options.clock.wall();
      const [from, to] = [current.fingerprint, next.fingerprint];
      await this.#take(
        { current, next },
        { phase: "add", from, to, startedAt: now, since: now, abandoned: [] },
      );
    });
  }

  /** Issues from the new root. `sidecars`: how many have to renew. Throws UserError where it cannot: a clock ahead made it, and it has not begun. */
  async reissue(sidecars: number): Promise<void> {
    const { least, most } = SPREAD;
    const { trustDomain } = this.#options;
    await this.#step(() => {
      this.#succession.next?.own(
        formatSpiffeId({ trustDomain, ...CONTROL_PLANE }),
      );
      return this.#take(this.#succession, this.#inPhase("reissue"), {
        renewWithin: Math.min(most, Math.max(least, sidecars * RENEWAL)),
      });
    });
  }

  /** The old root is not trusted any more, and its keys are removed. */
  async retire(): Promise<void> {
    await this.#step(async () => {
      const rotation = this.#inPhase("retire");
      if (this.#succession.next !== undefined)
        this.#succession = {
          current: await promote(this.#options),
          next: undefined,
        };
      await this.#take(this.#succession, rotation);
    });
  }

  async finish(): Promise<void> {
    await this.#step(async () => {
      const { rotation: _over, ...rest } = this.#note;
      const { from, to, startedAt } = this.#inPhase("retire");
      const finishedAt = this.#options.clock.wall();
      await this.#keep({ ...rest, last: { from, to, startedAt, finishedAt } });
    });
  }

  /** These are not waited for. */
  async abandon(sidecars: readonly string[]): Promise<void> {
    await this.#step(async () => {
      const { rotation } = this.#note;
      if (rotation === undefined) return;
      const all = new Set([...rotation.abandoned, ...sidecars]);
      const abandoned = [...all].sort();
      await this.#keep({ ...this.#note, rotation: { ...rotation, abandoned } });
    });
  }

  get #issuer(): Authority {
    const { current, next } = this.#succession;
    const isNew = this.#note.rotation?.phase === "reissue";
    return isNew && next !== undefined ? next : current;
  }

  #inPhase(phase: Phase): Rotation {
    const { rotation } = this.#note;
    if (rotation === undefined)
      throw new UserError("no rotation of the root is in progress");
    return { ...rotation, phase, since: this.#options.clock.wall() };
  }

  /** One after another: each stands on the note of the one before. */
  #step(run: () => Promise<void>): Promise<void> {
    return this.#steps.run("step", run);
  }

  /** In a step. Kept first: what was told to a sidecar is known after a crash. `anew`: under a new serial, also where it says the same. */
  async #take(
    succession: Succession,
    rotation: Rotation | undefined,
    how: { readonly renewWithin?: number; readonly anew?: boolean } = {},
  ): Promise<void> {
    const { issuer: elsewhere } = this.#options;
    const { current, next } = succession;
    const authority =
      rotation?.phase === "reissue" && next !== undefined ? next : current;
    const external = externalRoots(elsewhere);
    const issuer =
      elsewhere?.signs === true
        ? (external[0] ?? authority.fingerprint)
        : authority.fingerprint;
    const { rotation: _before, external: _roots, ...rest } = this.#note;
    const roots = rootsOf(
      [current, ...(next === undefined ? [] : [next])],
      elsewhere?.roots.value ?? [],
    );
    const moves = elsewhere !== undefined && issuer !== rest.issuer;
    const { renewWithin = moves ? SPREAD.most : rest.renewWithin } = how;
    const said = { roots: fingerprintsOf(roots), issuer, renewWithin };
    await recordExternal(
      this.#options.store,
      this.#note.external ?? [],
      external,
      this.signedBy,
    );
    await this.#keep({
      ...rest,
      ...said,
      serial: this.#serialOf(said, how.anew === true),
      ...(external.length === 0 ? {} : { external }),
      ...(rotation === undefined ? {} : { rotation }),
    });
    this.#succession = succession;
    this.#roots = roots;
    this.#say();
  }

  /** By the clock: a store that was lost does not begin below what sidecars have. */
  #serialOf(
    said: Pick<TrustNote, "roots" | "issuer" | "renewWithin">,
    anew: boolean,
  ): number {
    const { serial, roots, issuer } = this.#note;
    const isSame =
      !anew &&
      serial > 0 &&
      issuer === said.issuer &&
      isDeepStrictEqual(roots, said.roots);
    return isSame ? serial : Math.max(serial + 1, this.#options.clock.wall());
  }

  async #keep(note: TrustNote): Promise<void> {
    await this.#options.store.setNote(TRUST_NOTE, JSON.stringify(note));
    this.#note = note;
  }

  /** The bundle has its signers with it: once those of before end, nobody opens it. A sidecar that has its serial is not sent it again. */
  #followSigners(): void {
    if (this.#succession.current.issuingNotAfter !== this.#signersEnd)
      this.#say();
  }

  #say(): void {
    const { serial, issuer, renewWithin } = this.#note;
    const { trustDomain } = this.#options;
    const roots = this.trustBundle;
    const bundle: TrustBundle = {
      trustDomain,
      serial,
      roots,
      issuer,
      renewWithin,
    };
    // By the authority of today: a sidecar that was away knows no other.
    const { current } = this.#succession;
    const signersEnd = current.issuingNotAfter;
    const isSame =
      this.#offer.value.serial === serial && this.#signersEnd === signersEnd;
    this.#signed = current.signBundle(bundle);
    this.#signersEnd = signersEnd;
    if (!isSame)
      this.#offer.set({ serial, field: trustField(serial, this.#signed) });
  }
}
