/** Issues workload certificates: the first against a token, the later ones against the certificate in use. The identity is never the asker's to choose. */
import { createHash } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { networkOf } from "../../core/text/network.ts";
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import { readCsr } from "../../identity/csr.ts";
import { readCertificates } from "../../identity/pem.ts";
import type { SignedBundle } from "../../identity/trust-bundle.ts";
import { signedTrust } from "../../push/codec.ts";
import { formatSpiffeId, parseSpiffeId } from "../../identity/spiffe.ts";
import type { EnrolRequest, IssueResponse } from "../../push/messages.ts";
import { parseToken } from "../../push/token.ts";
import { isKind } from "../../resources/kind.ts";
import {
  MESH,
  MESH_NAME,
  meshSettings,
  type MeshSettings,
} from "../../resources/mesh/schema.ts";
import { authorOf, recordAct } from "../audit/audit.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import type { EnrolmentTokenSpec } from "./enrolment-token.ts";
import { proofOfPeer, workloadOf, type Peer } from "../push/peer.ts";
import { BACKDATED } from "../authority/authority.ts";
import { proofOf, type Proof } from "../../identity/revoked.ts";
import { nameOf, type SignedBy } from "../issuer/signed-by.ts";
import type { SigningMeters } from "../meters.ts";
import { formatName } from "../../resources/envelope.ts";
import type { Instance } from "../registry/names.ts";
import type { Store } from "../store/store.ts";
import { failureLimit, type FailureLimit } from "./failure-limit.ts";
import { instanceName } from "./instance-name.ts";
import type { ShownCertificates } from "./shown-certificates.ts";
import { SIGNING, SigningQueue, type SigningLimits } from "./signing-queue.ts";
import { TokenSpending } from "./token-spending.ts";
import { verifyToken } from "./token-use.ts";

/** What is needed of the certificate authority. */
export interface Issuer {
  /** Absent: it is the control plane's own. */
  readonly signedBy?: SignedBy | undefined;
  /** PEM roots. */
  readonly trustBundle: string;
  /** The same, signed; absent: sidecars go by where they got it. */
  readonly signed?: SignedBundle;
  sign(
    csrPem: string,
    subject: {
      readonly spiffeId: SpiffeUri;
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly addresses: readonly string[];
      readonly ttlMs: number;
    },
    signal: AbortSignal,
  ): Signed | Promise<Signed>;
}

/** PEM, leaf first. */
interface Signed {
  readonly certificateChain: string;
}

export interface EnrolmentOptions {
  readonly store: Store;
  readonly issuer: Issuer;
  /** Why an instance with a new key may not have the name (`Registry.nameFault`). */
  readonly nameFault: (instance: Instance) => Promise<string | undefined>;
  /** Why a peer may not go on with a certificate that is not valid (`Registry.untimelyFault`). */
  readonly untimelyFault: (peer: Peer) => Promise<string | undefined>;
  readonly shown: Pick<ShownCertificates, "isSuperseded" | "issued">;
  /** Why what is proved does not stand; absent: it always does. */
  readonly faultOf?: (proof: Proof) => string | undefined;
  /** SIGNING where absent. */
  readonly signing?: SigningLimits;
  readonly meters: SigningMeters;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What was issued, and where its validity begins. */
interface Issued {
  readonly response: IssueResponse;
  readonly begins: WallMs;
}

/** What a certificate says of its holder. */
interface Subject {
  readonly spiffeId: SpiffeUri;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
}

export class Enrolment {
  readonly #options: EnrolmentOptions;
  readonly #failures: FailureLimit;
  readonly #spending: TokenSpending;
  readonly #signing: SigningQueue;

  constructor(options: EnrolmentOptions) {
    const { clock, signing = SIGNING, meters, issuer } = options;
    this.#options = options;
    const { kind = "authority" } = issuer.signedBy ?? {};
    this.#signing = new SigningQueue(clock, signing, meters, kind);
    this.#failures = failureLimit(options.clock);
    this.#spending = new TokenSpending(options.store, options.clock);
  }

  /** `remote`: the address without port, by which failures are counted. Rejects with EnrolmentError. */
  async enrol(request: EnrolRequest, remote: string): Promise<IssueResponse> {
    const { logger } = this.#options;
    try {
      return await this.#enrol(request, remote);
    } catch (thrown) {
      if (!(thrown instanceof EnrolmentError) || !isFailure(thrown))
        throw thrown;
      if (!this.#failures.mayTell(remote))
        throw new EnrolmentError(
          "limited",
          "the enrolment failed, as too many before it did: wait a few seconds",
        );
      logger.warn(
        { remote, reason: thrown.message },
        "an enrolment was refused",
      );
      throw thrown;
    }
  }

  /** The token is spent for what is signed: an authority that fails or is slow costs no use. */
  async #enrol(
    { token, csr, name: asked }: EnrolRequest,
    remote: string,
  ): Promise<IssueResponse> {
    const { store, clock, logger } = this.#options;
    // First what costs least: a stranger's request is not parsed.
    const { spec } = await verifyToken(store, clock, token);
    const holder = keyOfCsr(csr);
    const name = instanceName(asked, spec, holder);
    // A use is for one instance: its key does not stand for another.
    const key = `${holder} ${name}`;
    const release = this.#spending.hold(token, key, spec.usesLeft);
    try {
      const subject = await this.#admit(spec, name);
      const { response } = await this.#issue(
        csr,
        subject,
        networkOf(remote),
        () => this.#proofToBe(subject),
      );
      await this.#spending.spend(token, key);
      await this.#record(token, subject, remote);
      logger.info({ ...subject, remote }, "an instance has enrolled");
      return response;
    } finally {
      release();
    }
  }

  /** A certificate with what the peer's has: it names the same instance, with the same labels. */
  async renew(
    peer: Peer,
    csr: string,
  ): Promise<IssueResponse & { readonly key: string }> {
    const key = keyOfCsr(csr);
    const subject = {
      spiffeId: peer.identity,
      name: peer.name,
      labels: peer.labels,
      addresses: peer.addresses,
    };
    const asker = `${workloadOf(peer)} ${peer.identity}`;
    const { response, begins } = await this.#issue(csr, subject, asker, () =>
      proofOfPeer(peer),
    );
    this.#options.shown.issued(peer, begins);
    return { ...response, key };
  }

  /**
   * As `renew`, for a peer whose certificate ended so many milliseconds ago, or begins so much later: after an outage, or where a clock
   * was wrong. Rejects with EnrolmentError where that is not for it to have.
   */
  async renewUntimely(
    peer: Peer,
    by: number,
    csr: string,
  ): Promise<IssueResponse & { readonly key: string }> {
    const { untimelyFault, shown, logger } = this.#options;
    const { renewExpiredFor } = (await this.#meshSettings()).mtls;
    const fault =
      by > renewExpiredFor
        ? tooLate(renewExpiredFor)
        : shown.isSuperseded(peer)
          ? "this instance has shown a newer certificate, or its Workload was deleted: what has this one is a copy, or was retired. Make a token with `wherry token create` and start the sidecar with it"
          : await untimelyFault(peer);
    const { identity, name, source: remote } = peer;
    if (fault !== undefined) {
      if (this.#failures.mayTell(remote))
        logger.warn(
          { identity, name, remote, reason: fault },
          "a certificate that is not valid was not renewed",
        );
      throw new EnrolmentError("refused", fault);
    }
    const renewed = await this.renew(peer, csr);
    logger.info(
      { identity, name, remote, by: formatDuration(Math.round(by)) },
      "a certificate that was not valid any more, or not yet, was renewed",
    );
    return renewed;
  }

  /** What the certificate will say of the holder of a token, where it may have one. */
  async #admit(spec: EnrolmentTokenSpec, name: string): Promise<Subject> {
    const { trustDomain, nameFault } = this.#options;
    const { namespace, serviceAccount, labels, addresses = [] } = spec;
    const spiffeId = formatSpiffeId({ trustDomain, namespace, serviceAccount });
    // Here, too: nothing is asked of the store for what is revoked.
    this.#refuseRevoked(this.#proofToBe({ spiffeId, name }));
    const taken = await nameFault({
      namespace,
      serviceAccount,
      name,
      identity: spiffeId,
    });
    if (taken !== undefined) throw new EnrolmentError("taken", taken);
    return { spiffeId, name, labels, addresses };
  }

  /** Before it is given: a certificate that no entry tells of stays here. */
  async #record(
    token: string,
    { spiffeId, name }: Subject,
    remote: string,
  ): Promise<void> {
    const by = `EnrolmentToken/${parseToken(token)?.id ?? ""}`;
    const { namespace = "" } = parseSpiffeId(spiffeId) ?? {};
    const { store, issuer } = this.#options;
    const { signedBy } = issuer;
    const signer =
      signedBy === undefined ? "" : `, signed by ${nameOf(signedBy)}`;
    try {
      await recordAct(store, authorOf(by, remote), {
        ...{ verb: "enrol", kind: "Workload", namespace, name },
        note: `${spiffeId}${signer}`,
      });
    } catch (thrown) {
      throw new EnrolmentError("failed", messageOf(thrown));
    }
  }

  /** As the certificate would be. */
  #proofToBe({ spiffeId, name }: Pick<Subject, "spiffeId" | "name">): Proof {
    const { namespace = "" } = parseSpiffeId(spiffeId) ?? {};
    const wall = this.#options.clock.wall();
    const begins = Math.floor((wall - BACKDATED) / 1000) * 1000;
    return {
      uri: spiffeId,
      instance: formatName(namespace, name),
      certificate: { serial: "", begins },
    };
  }

  #refuseRevoked(proof: Proof): void {
    const fault = this.#options.faultOf?.(proof);
    if (fault !== undefined) throw new EnrolmentError("refused", fault);
  }

  /** What is revoked by the time of the signature is not given. `asker`: an instance that has proved itself, or else an address. */
  async #issue(
    csr: string,
    subject: Subject,
    asker: string,
    proof: () => Proof,
  ): Promise<Issued> {
    const { issuer, clock } = this.#options;
    const settings = await this.#meshSettings();
    this.#refuseRevoked(proof());
    const ttlMs = settings.mtls.certificateTTL;
    const { certificateChain } = await this.#signed(subject, asker, (signal) =>
      issuer.sign(csr, { ...subject, ttlMs }, signal),
    );
    const made = proofOfChain(certificateChain, subject);
    for (const each of [proof(), made.proof]) this.#refuseRevoked(each);
    const { trustBundle, signed } = issuer;
    const trust =
      signed === undefined ? Buffer.alloc(0) : signedTrust.encode(signed);
    return {
      response: { certificateChain, trustBundle, trust, time: clock.wall() },
      begins: made.begins,
    };
  }

  async #signed(
    subject: Subject,
    asker: string,
    sign: (signal: AbortSignal) => Signed | Promise<Signed>,
  ): Promise<Signed> {
    try {
      return await this.#signing.run(asker, sign);
    } catch (thrown) {
      const reason = messageOf(thrown);
      this.#options.logger.error(
        { ...subject, reason },
        "a certificate cannot be issued",
      );
      throw new EnrolmentError(
        "failed",
        `the authority cannot sign: ${reason}`,
      );
    }
  }

  async #meshSettings(): Promise<MeshSettings> {
    const mesh = await this.#options.store.get({
      kind: MESH.kind,
      namespace: "",
      name: MESH_NAME,
    });
    return meshSettings(
      mesh !== undefined && isKind(MESH, mesh) ? mesh.spec : undefined,
    );
  }
}

/** `allowed`: milliseconds. */
function tooLate(allowed: number): string {
  const advice =
    "make a token with `wherry token create` and start the sidecar with it";
  return allowed === 0
    ? `an expired certificate is not renewed here (mtls.renewExpiredFor of the Mesh is 0s): ${advice}`
    : `the certificate is out of date by more than ${formatDuration(allowed)} (mtls.renewExpiredFor of the Mesh): ${advice}`;
}

/** SHA-256 of the public key of a request that proves that its sender holds the private one. */
function keyOfCsr(csr: string): string {
  try {
    const publicKey = readCsr(csr);
    return createHash("sha256")
      .update(publicKey.export({ type: "spki", format: "der" }))
      .digest("hex");
  } catch (thrown) {
    throw new EnrolmentError(
      "invalid",
      thrown instanceof UserError
        ? thrown.message
        : "the certificate request cannot be read",
    );
  }
}

/** What a certificate that was just signed will prove. */
function proofOfChain(
  chain: string,
  { spiffeId }: Subject,
): { readonly proof: Proof; readonly begins: WallMs } {
  const [leaf] = readCertificates(chain, "certificate");
  const id = parseSpiffeId(spiffeId);
  if (leaf === undefined || id === undefined)
    throw new EnrolmentError("failed", "the authority has signed nothing");
  return {
    proof: proofOf(leaf, spiffeId, id),
    begins: leaf.validFromDate.getTime(),
  };
}

/** The asker's own doing, with a token or without. */
function isFailure({ kind }: EnrolmentError): boolean {
  return kind === "refused" || kind === "invalid";
}
