/** What an enrolment token stands for. */
import { timingSafeEqual } from "node:crypto";
import { parseTimestamp, type Clock } from "../../core/clock.ts";
import { hashSecret, parseToken } from "../../push/token.ts";
import type { Resource } from "../../resources/envelope.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import {
  enrolmentTokenKey,
  type EnrolmentTokenSpec,
} from "./enrolment-token.ts";
import type { Store } from "../store/store.ts";

const UNKNOWN_TOKEN =
  "the token is not valid here: make another with `wherry token create` and start the sidecar with it";

/** A token that is good now; whether it has uses left is another question. */
export interface ValidToken {
  readonly record: Resource;
  readonly spec: EnrolmentTokenSpec;
}

/** `text`: as the sidecar sent it. Rejects with EnrolmentError. */
export async function verifyToken(
  store: Store,
  clock: Clock,
  text: string,
): Promise<ValidToken> {
  const token = parseToken(text);
  if (token === undefined)
    throw new EnrolmentError(
      "refused",
      "invalid enrolment token: expected the whole text that `wherry token create` printed (wherry1.…)",
    );
  const record = await store.get(enrolmentTokenKey(token.id));
  const spec = record === undefined ? undefined : tokenSpec(record);
  // Compared also where the token is unknown, so that both refusals take the same time.
  const matches = hashMatches(spec?.hash ?? hashSecret(""), token.secret);
  if (record === undefined || spec === undefined || !matches)
    throw new EnrolmentError("refused", UNKNOWN_TOKEN);
  if (!(parseTimestamp(spec.expiresAt) > clock.wall()))
    throw new EnrolmentError(
      "refused",
      `the token expired at ${spec.expiresAt}: make another with \`wherry token create\``,
    );
  return { record, spec };
}

/** The record was written by `createEnrolmentToken` alone; the shape is checked all the same, for it decides identities. */
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
