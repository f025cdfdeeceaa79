/** Issues workload certificates: the first against a token, the later ones against the certificate in use. The identity is never the asker's to choose. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { parseTimestamp, type Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { networkOf } from "../core/text/network.ts";
import { tokenBucket, type TokenBucket } from "../core/token-bucket.ts";
import { readCsr } from "../identity/csr.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import type { IssueResponse } from "../push/messages.ts";
import { hashSecret, parseToken } from "../push/token.ts";
import type { Resource } from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { MESH, MESH_NAME, meshSettings } from "../resources/mesh/schema.ts";
import { DNS_NAME } from "../resources/schema-parts.ts";
import {
  enrolmentTokenKey,
  type EnrolmentTokenSpec,
} from "./enrolment-token.ts";
import type { Peer } from "./push/peer.ts";
import type { Instance } from "./registry.ts";
import { ConflictError, type Store } from "./store/store.ts";

/** What is needed of the certificate authority. */
export interface Issuer {
  /** PEM roots. */
  readonly trustBundle: string;
  sign(
    csrPem: string,
    subject: {
      readonly spiffeId: string;
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
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Enrolment {
  /** `remote`: the address without port, by which failures are counted. Rejects with EnrolmentError. */
  enrol(
    request: {
      readonly token: string;
      readonly csr: string;
      readonly name: string;
    },
    remote: string,
  ): Promise<IssueResponse>;
  /** A certificate with what the peer's has: it names the same instance, with the same labels. */
  renew(
    peer: Peer,
    csr: string,
  ): Promise<IssueResponse & { readonly key: string }>;
}

/** `refused`: the token; `invalid`: the request; `taken`: the name; `limited`: a failure among too many; `failed`: ours. */
export class EnrolmentError extends Error {
  override readonly name = "EnrolmentError";
  readonly kind: "refused" | "invalid" | "taken" | "limited" | "failed";

  constructor(kind: EnrolmentError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Failures of one source and of all that are told and logged one by one, and how fast that comes back (a second). Beyond it they are
 * still looked at: a good token works whoever shares its address, and the 256 random bits of a token cannot be guessed at any rate.
 */
export const PER_SOURCE = { burst: 10, rate: 1 } as const;
export const TOGETHER = { burst: 200, rate: 50 } as const;
/** Sources whose failures are remembered. */
const MOST_SOURCES = 10_000;
/** Writers of one token at a time that are waited for. */
const MOST_CONFLICTS = 20;

const UNKNOWN_TOKEN =
  "the token is not valid here: make another with `wherry token create` and start the sidecar with it";

export function makeEnrolment(options: EnrolmentOptions): Enrolment {
  const { store, issuer, clock, logger } = options;
  const failures = failureLimit(clock);

  const issue = async (
    csr: string,
    subject: {
      readonly spiffeId: string;
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly addresses: readonly string[];
    },
  ): Promise<IssueResponse> => {
    const mesh = await store.get({
      kind: MESH.kind,
      namespace: "",
      name: MESH_NAME,
    });
    const settings = meshSettings(
      mesh !== undefined && isKind(MESH, mesh) ? mesh.spec : undefined,
    );
    try {
      const { certificateChain } = issuer.sign(csr, {
        ...subject,
        ttlMs: settings.mtls.certificateTTL,
      });
      return { certificateChain, trustBundle: issuer.trustBundle };
    } catch (thrown) {
      logger.error(
        { ...subject, reason: messageOf(thrown) },
        "a certificate cannot be issued",
      );
      throw new EnrolmentError(
        "failed",
        `the authority cannot sign: ${messageOf(thrown)}`,
      );
    }
  };

  /** What the token stands for, if it is good now. */
  const verify = async (
    text: string,
  ): Promise<{ record: Resource; spec: EnrolmentTokenSpec }> => {
    const token = parseToken(text);
    if (token === undefined)
      throw new EnrolmentError(
        "refused",
        "what was sent is no enrolment token (wherry1.…): give the whole text that `wherry token create` printed",
      );
    const record = await store.get(enrolmentTokenKey(token.id));
    const spec = record === undefined ? undefined : tokenSpec(record);
    // Compared also where there is no such token, so that both refusals take the same time.
    const matches = hashMatches(spec?.hash ?? hashSecret(""), token.secret);
    if (record === undefined || spec === undefined || !matches)
      throw new EnrolmentError("refused", UNKNOWN_TOKEN);
    if (!(parseTimestamp(spec.expiresAt) > clock.wall()))
      throw new EnrolmentError(
        "refused",
        `the token expired at ${spec.expiresAt}: make another with \`wherry token create\``,
      );
    if (spec.usesLeft < 1)
      throw new EnrolmentError(
        "refused",
        "the token has no uses left: make another with `wherry token create`",
      );
    return { record, spec };
  };

  /** Takes one use of the token. */
  const spend = async (text: string): Promise<void> => {
    for (let conflicts = 0; ; conflicts += 1) {
      const { record, spec } = await verify(text);
      try {
        await store.put(
          { ...record, spec: { ...spec, usesLeft: spec.usesLeft - 1 } },
          Number(record.metadata.resourceVersion),
        );
        return;
      } catch (thrown) {
        if (!(thrown instanceof ConflictError) || conflicts >= MOST_CONFLICTS)
          throw new EnrolmentError("failed", messageOf(thrown));
      }
    }
  };

  const issueFor = async (
    text: string,
    csr: string,
    asked: string,
  ): Promise<IssueResponse & { readonly subject: object }> => {
    // First what costs least: a stranger's request is not parsed.
    const { spec } = await verify(text);
    const { namespace, serviceAccount, labels, addresses = [] } = spec;
    // Before the token is spent: a request that cannot be signed costs no use.
    keyOfCsr(csr);
    const name = instanceName(asked, spec);
    const spiffeId = formatSpiffeId({
      trustDomain: options.trustDomain,
      namespace,
      serviceAccount,
    });
    const taken = await options.nameFault({
      namespace,
      serviceAccount,
      name,
      identity: spiffeId,
    });
    if (taken !== undefined) throw new EnrolmentError("taken", taken);
    await spend(text);
    const subject = { spiffeId, name, labels, addresses };
    return { ...(await issue(csr, subject)), subject };
  };

  return {
    async enrol({ token, csr, name }, remote) {
      try {
        const { subject, ...issued } = await issueFor(token, csr, name);
        logger.info({ ...subject, remote }, "an instance has enrolled");
        return issued;
      } catch (thrown) {
        if (!(thrown instanceof EnrolmentError) || !isFailure(thrown))
          throw thrown;
        if (!failures.mayTell(remote))
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
    },
    async renew(peer, csr) {
      const key = keyOfCsr(csr);
      const issued = await issue(csr, {
        spiffeId: peer.identity,
        name: peer.name,
        labels: peer.labels,
        addresses: peer.addresses,
      });
      return { ...issued, key };
    },
  };
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

/** As an RFC 1123 name, and short enough to stand in a certificate and a host's name. */
function isInstanceName(name: string): boolean {
  return (
    name.length <= DNS_NAME.maxLength && new RegExp(DNS_NAME.pattern).test(name)
  );
}

/** The record was written by `createEnrolmentToken` alone; the shape is checked all the same, for it decides who is who. */
function tokenSpec(record: Resource): EnrolmentTokenSpec | undefined {
  const spec = record.spec as Partial<EnrolmentTokenSpec>;
  const { hash, namespace, serviceAccount, labels, expiresAt, usesLeft } = spec;
  const { addresses, name } = spec;
  if (
    typeof hash !== "string" ||
    typeof namespace !== "string" ||
    typeof serviceAccount !== "string" ||
    typeof labels !== "object" ||
    typeof expiresAt !== "string" ||
    typeof usesLeft !== "number" ||
    (addresses !== undefined && !Array.isArray(addresses)) ||
    (name !== undefined && typeof name !== "string")
  )
    return undefined;
  return {
    hash,
    namespace,
    serviceAccount,
    labels,
    ...(addresses === undefined ? {} : { addresses }),
    ...(name === undefined ? {} : { name }),
    expiresAt,
    usesLeft,
  };
}

function hashMatches(hash: string, secret: string): boolean {
  const kept = Buffer.from(hash);
  const given = Buffer.from(hashSecret(secret));
  return kept.length === given.length && timingSafeEqual(kept, given);
}

/** Limits what is said of failures. Nobody is kept from trying. */
function failureLimit(clock: Clock): { mayTell(remote: string): boolean } {
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
