/** The store's record of an enrolment token: which identity it gives, until when and how often; of its secret only the hash. */
import { randomBytes } from "node:crypto";
import { timestamp, type Clock } from "../../core/clock.ts";
import { formatToken, hashSecret, makeSecret } from "../../push/token.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { OWN_GROUP } from "../../resources/kind.ts";
import type { Author } from "../audit/audit.ts";
import type { Store } from "../store/store.ts";

/** A kind of the store alone: the API does not show it and it is never pushed. */
export const ENROLMENT_TOKEN = "EnrolmentToken";

export interface EnrolmentTokenSpec {
  /** `hashSecret` of the secret. */
  readonly hash: string;
  /** The three that the certificates will bear, whatever the bearer asks for. */
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** CIDR ranges that the instances may register addresses of, besides the address that they call from; absent: none. */
  readonly addresses?: readonly string[];
  /** The one instance name that it gives; absent: the bearer chooses. */
  readonly name?: string;
  /** RFC 3339 */
  readonly expiresAt: string;
  readonly usesLeft: number;
}

export interface EnrolmentTokenOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses?: readonly string[];
  readonly name?: string;
  /** Milliseconds that it may be used for. */
  readonly ttl: number;
  readonly uses: number;
  /** Fingerprint of the CA: SHA-256 of the root's DER in hex. */
  readonly ca: string;
  /** The same of the root that takes its place, while the root is rotated. */
  readonly next?: string;
  /** "HOST:PORT" of the control plane, for the token to carry. */
  readonly address?: string;
}

export function enrolmentTokenKey(id: string): ResourceKey {
  return { kind: ENROLMENT_TOKEN, namespace: "", name: id };
}

export function enrolmentTokenResource(
  id: string,
  spec: EnrolmentTokenSpec,
): Resource<EnrolmentTokenSpec> {
  return {
    apiVersion: `${OWN_GROUP}/v1alpha1`,
    kind: ENROLMENT_TOKEN,
    metadata: { name: id },
    spec,
  };
}

/** Writes the record and gives the token's text, which is to be had this once. */
export async function createEnrolmentToken(
  store: Store,
  clock: Clock,
  options: EnrolmentTokenOptions,
  author?: Author,
): Promise<{
  readonly id: string;
  readonly text: string;
  readonly expiresAt: string;
}> {
  const id = randomBytes(8).toString("hex");
  const secret = makeSecret();
  const expiresAt = timestamp(clock.wall() + options.ttl);
  const { namespace, serviceAccount, labels, ca, address } = options;
  const { addresses, name, next } = options;
  await store.put(
    enrolmentTokenResource(id, {
      hash: hashSecret(secret),
      namespace,
      serviceAccount,
      labels,
      ...(addresses === undefined ? {} : { addresses }),
      ...(name === undefined ? {} : { name }),
      expiresAt,
      usesLeft: options.uses,
    }),
    "absent",
    author,
  );
  const text = formatToken({
    id,
    ca,
    secret,
    ...(next === undefined ? {} : { next }),
    ...(address === undefined ? {} : { address }),
  });
  return { id, text, expiresAt };
}
