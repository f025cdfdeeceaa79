/** Client certificates in place of tokens: the name that one proves, and the role that the control plane gives to that name. */
import type { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import type { WallMs } from "../../../core/units.ts";
import { uriNames } from "../../../identity/extensions.ts";
import type { Principal, Role } from "../../tokens.ts";

export interface ClientRole {
  /** A URI of the certificate, such as a SPIFFE ID, or "CN=NAME" of its subject. */
  readonly name: string;
  readonly role: Role;
  /** Absent: all. */
  readonly namespaces?: readonly string[];
}

export interface ClientCertificates {
  /** PEM. No other authority is trusted to name operators. */
  readonly authorities: string;
  readonly roles: readonly ClientRole[];
}

export type ShownCertificate =
  | { readonly kind: "none" }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "accepted"; readonly principal: Principal };

/** Headers of a page's request. */
const BROWSERS = ["origin", "sec-fetch-site", "sec-fetch-mode"] as const;

/** Precedes a common name in --api-client. */
const COMMON_NAME = "CN=";

const NONE: ShownCertificate = { kind: "none" };

/** Judged at each request: a connection outlives its certificate otherwise. */
export function judgeCertificate(
  { socket, headers }: Pick<IncomingMessage, "socket" | "headers">,
  clients: ClientCertificates | undefined,
  wall: WallMs,
): ShownCertificate {
  if (clients === undefined || !(socket instanceof TLSSocket)) return NONE;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return NONE;
  // A browser shows it whatever page asks; a token it never sends by itself.
  if (BROWSERS.some((name) => headers[name] !== undefined))
    return refused(
      "a page in a browser asked, and it may be any page: send a token",
    );
  if (!socket.authorized)
    return refused(
      `it does not lead to an authority of --api-client-ca, or is out of its time (${String(socket.authorizationError)})`,
    );
  const { validFromDate, validToDate } = certificate;
  if (wall < validFromDate.getTime() || wall >= validToDate.getTime())
    return refused(
      `it is valid from ${validFromDate.toISOString()} to ${validToDate.toISOString()}`,
    );
  // Each kind by itself: a URI may have any text, "CN=NAME" as well.
  const uris = uriNames(certificate);
  const commonName = commonNameOf(certificate);
  const found = clients.roles.find(({ name }) =>
    name.startsWith(COMMON_NAME) ? name === commonName : uris.includes(name),
  );
  if (found === undefined) return refused(whyNoRole(uris, commonName));
  const { name, role, namespaces } = found;
  return {
    kind: "accepted",
    principal: {
      tokenId: name,
      certificate: name,
      role,
      ...(namespaces === undefined ? {} : { namespaces }),
    },
  };
}

function refused(why: string): ShownCertificate {
  return { kind: "refused", why };
}

function whyNoRole(
  uris: readonly string[],
  commonName: string | undefined,
): string {
  const names = [
    ...uris.slice(0, 5).map((uri) => `the URI ${uri}`),
    ...(commonName === undefined ? [] : [commonName]),
  ];
  return names.length === 0
    ? "it has neither a URI nor a common name"
    : `no --api-client gives a role to ${names.join(" or ")}`;
}

/** "CN=NAME". A subject with several common names has none: readers of certificates differ in which one counts. */
function commonNameOf(certificate: X509Certificate): string | undefined {
  const { CN: common } = certificate.toLegacyObject().subject;
  return typeof common === "string" ? `${COMMON_NAME}${common}` : undefined;
}
