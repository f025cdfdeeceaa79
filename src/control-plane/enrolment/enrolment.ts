/** Issues workload certificates: the first against a token, the later ones against the certificate in use. The identity is never the asker's to choose. */
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { networkOf } from "../../core/text/network.ts";
import { tokenBucket, type TokenBucket } from "../../core/token-bucket.ts";
import type { SpiffeUri } from "../../core/units.ts";
import { readCsr } from "../../identity/csr.ts";
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
import { DNS_NAME } from "../../resources/schema-parts.ts";
import { authorOf, recordAct } from "../audit/audit.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import type { EnrolmentTokenSpec } from "./enrolment-token.ts";
import { proofOfPeer, type Peer } from "../push/peer.ts";
import { BACKDATED } from "../authority/authority.ts";
import type { Proof } from "../../identity/revoked.ts";
import { formatName } from "../../resources/envelope.ts";
import type { Instance } from "../registry/names.ts";
import type { Store } from "../store/store.ts";
import type { ShownCertificates } from "./shown-certificates.ts";
import { NO_USES_LEFT, TokenSpending } from "./token-spending.ts";
import { verifyToken } from "./token-use.ts";

/** What is needed of the certificate authority. */
export interface Issuer {
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
  ): { readonly certificateChain: string; readonly notAfter: number };
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
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Failures of one source and of all that are reported and logged one by one, and how fast that comes back (a second). Beyond it they are
 * still looked at: a good token works whatever shares its address, and the 256 random bits of a token cannot be guessed at any rate.
 */
export const PER_SOURCE = { burst: 10, rate: 1 } as const;
export const TOGETHER = { burst: 200, rate: 50 } as const;
/** Sources whose failures are remembered. */
const MOST_SOURCES = 10_000;
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

  constructor(options: EnrolmentOptions) {
    this.#options = options;
    this.#failures = failureLimit(options.clock);
    this.#spending = new TokenSpending(options.store, options.clock);
  }

  /** `remote`: the address without port, by which failures are counted. Rejects with EnrolmentError. */
  async enrol(
    { token, csr, name }: EnrolRequest,
    remote: string,
  ): Promise<IssueResponse> {
    const { logger } = this.#options;
    try {
      const subject = await this.#admit(token, csr, name);
      await this.#record(token, subject, remote);
      const issued = await this.#issue(csr, subject, () =>
        this.#proofToBe(subject),
      );
      logger.info({ ...subject, remote }, "an instance has enrolled");
      return issued;
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
    const issued = await this.#issue(csr, subject, () => proofOfPeer(peer));
    this.#options.shown.issued(peer);
    return { ...issued, key };
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

  /** Spends one use of the token, where all else is sound. */
  async #admit(text: string, csr: string, asked: string): Promise<Subject> {
    const { store, clock, trustDomain, nameFault } = this.#options;
    // First what costs least: a stranger's request is not parsed.
    const { spec } = await verifyToken(store, clock, text);
    const { namespace, serviceAccount, labels, addresses = [] } = spec;
    // Before the token is spent: a request that cannot be signed costs no use.
    const key = keyOfCsr(csr);
    if (spec.usesLeft < 1 && !this.#spending.hasSpent(text, key))
      throw new EnrolmentError("refused", NO_USES_LEFT);
    const name = instanceName(asked, spec);
    const spiffeId = formatSpiffeId({ trustDomain, namespace, serviceAccount });
    // Here, too: what is revoked costs no use.
    this.#refuseRevoked(this.#proofToBe({ spiffeId, name }));
    const taken = await nameFault({
      namespace,
      serviceAccount,
      name,
      identity: spiffeId,
    });
    if (taken !== undefined) throw new EnrolmentError("taken", taken);
    await this.#spending.spend(text, key);
    return { spiffeId, name, labels, addresses };
  }

  /** Before it is issued: a certificate that no entry tells of is not given. */
  async #record(
    token: string,
    { spiffeId, name }: Subject,
    remote: string,
  ): Promise<void> {
    const by = `EnrolmentToken/${parseToken(token)?.id ?? ""}`;
    const { namespace = "" } = parseSpiffeId(spiffeId) ?? {};
    try {
      await recordAct(this.#options.store, authorOf(by, remote), {
        ...{ verb: "enrol", kind: "Workload", namespace, name },
        note: spiffeId,
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

  async #issue(
    csr: string,
    subject: Subject,
    proof: () => Proof,
  ): Promise<IssueResponse> {
    const { issuer, clock, logger } = this.#options;
    const settings = await this.#meshSettings();
    // Nothing is waited for from here to the signature: what was revoked before it is not issued.
    this.#refuseRevoked(proof());
    try {
      const { certificateChain } = issuer.sign(csr, {
        ...subject,
        ttlMs: settings.mtls.certificateTTL,
      });
      const { trustBundle, signed } = issuer;
      const trust =
        signed === undefined ? Buffer.alloc(0) : signedTrust.encode(signed);
      return { certificateChain, trustBundle, trust, time: clock.wall() };
    } catch (thrown) {
      const reason = messageOf(thrown);
      logger.error({ ...subject, reason }, "a certificate cannot be issued");
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

/** The name that the instance gets. Throws EnrolmentError where it may not have the one that it asks for. */
function instanceName(
  asked: string,
  { serviceAccount, name }: EnrolmentTokenSpec,
): string {
  if (asked !== "" && !isInstanceName(asked))
    throw new EnrolmentError(
      "invalid",
      `the instance name "${asked.slice(0, 100)}" is not ${DNS_NAME.expected}`,
    );
  if (name !== undefined && asked !== "" && asked !== name)
    throw new EnrolmentError(
      "refused",
      `the token is for the instance ${name} alone, not for ${asked}: start the sidecar with --name ${name}`,
    );
  return (
    name ??
    (asked === ""
      ? `${serviceAccount}-${randomBytes(4).toString("hex")}`
      : asked)
  );
}

/** The asker's own doing, with a token or without. */
function isFailure({ kind }: EnrolmentError): boolean {
  return kind === "refused" || kind === "invalid";
}

/** As an RFC 1123 name, and short enough for a certificate and a host's name. */
function isInstanceName(name: string): boolean {
  return (
    name.length <= DNS_NAME.maxLength && new RegExp(DNS_NAME.pattern).test(name)
  );
}

interface FailureLimit {
  /** Whether a failure of this address is reported and logged. */
  mayTell(remote: string): boolean;
}

/** Limits what is said of failures. Nobody is kept from trying. */
function failureLimit(clock: Clock): FailureLimit {
  const together = tokenBucket(TOGETHER);
  const sources = new Map<string, TokenBucket>();
  return {
    mayTell(remote) {
      const now = clock.now();
      const source = networkOf(remote);
      const bucket = sources.get(source) ?? tokenBucket(PER_SOURCE);
      // The source that failed longest ago is forgotten first.
      sources.delete(source);
      sources.set(source, bucket);
      const [oldest] = sources.keys();
      if (sources.size > MOST_SOURCES && oldest !== undefined)
        sources.delete(oldest);
      return bucket.take(now) && together.take(now);
    },
  };
}
