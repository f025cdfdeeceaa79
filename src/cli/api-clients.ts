/** The options that give roles to client certificates of the API. */
import { X509Certificate } from "node:crypto";
import type {
  ClientCertificates,
  ClientRole,
} from "../control-plane/api/rights/client-certificates.ts";
import type { Role } from "../control-plane/tokens.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { readTrusted } from "../core/secret-file.ts";

interface ApiClientOptions {
  readonly apiClientCa?: string;
  readonly apiClient?: readonly string[];
}

const ROLES: readonly Role[] = ["admin", "editor", "viewer"];
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Undefined: only tokens are accepted. Throws UserError. */
export async function apiClientsOf({
  apiClientCa,
  apiClient = [],
}: ApiClientOptions): Promise<ClientCertificates | undefined> {
  if (apiClientCa === undefined && apiClient.length === 0) return undefined;
  if (apiClientCa === undefined || apiClient.length === 0)
    throw new UserError("--api-client-ca and --api-client belong together");
  const roles = apiClient.map(clientRoleOf);
  const names = new Set(roles.map(({ name }) => name));
  if (names.size < roles.length)
    throw new UserError("--api-client: each needs a NAME of its own");
  return { authorities: await readAuthorities(apiClientCa), roles };
}

/** "NAME=ROLE" or "NAME=ROLE:NAMESPACE,NAMESPACE"; a NAME may have "=" and ":" in it. Throws UserError. */
export function clientRoleOf(text: string): ClientRole {
  const [, name = "", written = "", list] =
    /^(.+)=([^=:]*)(?::([^=:]*))?$/.exec(text) ?? [];
  const role = ROLES.find((each) => each === written);
  const namespaces = list?.split(",");
  if (
    role === undefined ||
    !(/^CN=./.test(name) || /^[a-z][-a-z0-9+.]*:\/\/./i.test(name)) ||
    namespaces?.every((each) => NAMESPACE.test(each)) === false
  )
    throw new UserError(
      `invalid --api-client ${text}: expected NAME=ROLE or NAME=ROLE:NAMESPACE,NAMESPACE, where NAME is a URI or CN=NAME, and ROLE one of ${ROLES.join(", ")}`,
    );
  return { name, role, ...(namespaces === undefined ? {} : { namespaces }) };
}

async function readAuthorities(file: string): Promise<string> {
  try {
    const pem = await readTrusted(file);
    const found = pem.match(
      /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g,
    );
    if (found === null) throw new UserError("it has no certificate in it");
    for (const each of found)
      if (!new X509Certificate(each).ca)
        throw new UserError("it has a certificate that may issue no others");
    return pem;
  } catch (error) {
    throw new UserError(
      `--api-client-ca ${file} cannot be used: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
