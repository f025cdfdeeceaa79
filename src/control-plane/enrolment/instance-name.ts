/** The name that an instance gets with a token. */
import { DNS_NAME } from "../../resources/schema-parts.ts";
import { EnrolmentError } from "./enrolment-error.ts";
import type { EnrolmentTokenSpec } from "./enrolment-token.ts";

/** Where it asks for none, the same for the same key. Throws EnrolmentError where it may not have the one that it asks for. */
export function instanceName(
  asked: string,
  { serviceAccount, name }: EnrolmentTokenSpec,
  key: string,
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
    name ?? (asked === "" ? `${serviceAccount}-${key.slice(0, 8)}` : asked)
  );
}

/** As an RFC 1123 name, and short enough for a certificate and a host's name. */
function isInstanceName(name: string): boolean {
  return (
    name.length <= DNS_NAME.maxLength && new RegExp(DNS_NAME.pattern).test(name)
  );
}
