/** Issues workload certificates: the first against a token, the later ones against the certificate in use. The identity is never the asker's to choose. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { parseTimestamp, type Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { tokenBucket, type TokenBucket } from "../core/token-bucket.ts";
import { readCsr } from "../identity/csr.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import type { IssueResponse } from "../push/messages.ts";
import { hashSecret, parseToken } from "../push/token.ts";
import type { Resource } from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { MESH, MESH_NAME, meshSettings } from "../resources/mesh.ts";
import { DNS_NAME } from "../resources/schema.ts";
import {
  enrolmentTokenKey,
  type EnrolmentTokenSpec,
} from "./enrolment-token.ts";
import type { Peer } from "./push/peer.ts";
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
      readonly ttlMs: number;
    },
  ): { readonly certificateChain: string; readonly notAfter: number };
}

export interface EnrolmentOptions {
  readonly store: Store;
  readonly issuer: Issuer;
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

/** `refused`: the token; `invalid`: the request; `limited`: too many failures; `failed`: ours. */
export class EnrolmentError extends Error {
  override readonly name = "EnrolmentError";
  readonly kind: "refused" | "invalid" | "limited" | "failed";

  constructor(kind: EnrolmentError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Failed attempts that one address and all together may make, and how fast that comes back (a second). */
const PER_ADDRESS = { burst: 10, rate: 1 } as const;
const TOGETHER = { burst: 200, rate: 50 } as const;
/** Addresses whose failures are remembered. */
const MOST_ADDRESSES = 10_000;
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

  /** Takes one use of the token, and gives what it stands for. */
  const spend = async (text: string): Promise<EnrolmentTokenSpec> => {
    const token = parseToken(text);
    if (token === undefined)
      throw new EnrolmentError(
        "refused",
        "what was sent is no enrolment token (wherry1.…): give the whole text that `wherry token create` printed",
      );
    const key = enrolmentTokenKey(token.id);
    for (let conflicts = 0; ; conflicts += 1) {
      const record = await store.get(key);
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
      try {
        await store.put(
          { ...record, spec: { ...spec, usesLeft: spec.usesLeft - 1 } },
          Number(record.metadata.resourceVersion),
        );
        return spec;
      } catch (thrown) {
        if (!(thrown instanceof ConflictError) || conflicts >= MOST_CONFLICTS)
          throw new EnrolmentError("failed", messageOf(thrown));
      }
    }
  };

  return {
    async enrol({ token, csr, name }, remote) {
      if (!failures.allows(remote))
        throw new EnrolmentError(
          "limited",
          "too many failed enrolments: wait a few seconds",
        );
      try {
        // Before the token is spent: a request that cannot be signed costs no use.
        keyOfCsr(csr);
        if (name !== "" && !isInstanceName(name))
          throw new EnrolmentError(
            "invalid",
            `the instance name "${name.slice(0, 100)}" is not ${DNS_NAME.description}`,
          );
        const spec = await spend(token);
        const { namespace, serviceAccount, labels } = spec;
        const instance =
          name === ""
            ? `${serviceAccount}-${randomBytes(4).toString("hex")}`
            : name;
        const spiffeId = formatSpiffeId({
          trustDomain: options.trustDomain,
          namespace,
          serviceAccount,
        });
        const issued = await issue(csr, { spiffeId, name: instance, labels });
        logger.info(
          { spiffeId, name: instance, remote },
          "an instance has enrolled",
        );
        return issued;
      } catch (thrown) {
        if (thrown instanceof EnrolmentError && thrown.kind !== "failed") {
          failures.failed(remote);
          logger.warn(
            { remote, reason: thrown.message },
            "an enrolment was refused",
          );
        }
        throw thrown;
      }
    },
    async renew(peer, csr) {
      const key = keyOfCsr(csr);
      const issued = await issue(csr, {
        spiffeId: peer.identity,
        name: peer.name,
        labels: peer.labels,
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
  if (
    typeof hash !== "string" ||
    typeof namespace !== "string" ||
    typeof serviceAccount !== "string" ||
    typeof labels !== "object" ||
    typeof expiresAt !== "string" ||
    typeof usesLeft !== "number"
  )
    return undefined;
  return { hash, namespace, serviceAccount, labels, expiresAt, usesLeft };
}

function hashMatches(hash: string, secret: string): boolean {
  const kept = Buffer.from(hash);
  const given = Buffer.from(hashSecret(secret));
  return kept.length === given.length && timingSafeEqual(kept, given);
}

function failureLimit(clock: Clock): {
  allows(remote: string): boolean;
  failed(remote: string): void;
} {
  const together = tokenBucket(TOGETHER);
  const addresses = new Map<string, TokenBucket>();
  return {
    allows(remote) {
      const now = clock.now();
      return (
        together.level(now) >= 1 &&
        (addresses.get(remote)?.level(now) ?? 1) >= 1
      );
    },
    failed(remote) {
      const now = clock.now();
      together.take(now);
      const bucket = addresses.get(remote) ?? tokenBucket(PER_ADDRESS);
      // The address that failed longest ago is forgotten first.
      addresses.delete(remote);
      addresses.set(remote, bucket);
      bucket.take(now);
      const [oldest] = addresses.keys();
      if (addresses.size > MOST_ADDRESSES && oldest !== undefined)
        addresses.delete(oldest);
    },
  };
}
