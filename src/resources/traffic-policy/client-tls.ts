/** The block `tls` of a TrafficPolicy: callers speak TLS with what has no sidecar, and verify it. */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import Type, { type TUnsafe } from "typebox";
import { messageOf } from "../../core/errors.ts";
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { duplicates, error, quote } from "../problems.ts";
import { CLOSED, describes, DNS_NAME, field } from "../schema-parts.ts";

export interface ClientTlsSpec {
  readonly mode: "DISABLE" | "SIMPLE" | "MUTUAL";
  /** The server name that is sent and, without `subjectAltNames`, proved. Absent: the host that is connected to. */
  readonly sni?: string;
  /** PEM. Absent: the roots of the caller's machine. */
  readonly caBundle?: string;
  /** One of them is in the server's certificate, in place of the server name. */
  readonly subjectAltNames?: readonly string[];
  /** Files on the caller's machine. Required for MUTUAL, and only there. */
  readonly clientCertificate?: string;
  readonly privateKey?: string;
}

/** What is in force: there is none where TLS is off. */
export interface ClientTls extends ClientTlsSpec {
  readonly mode: "SIMPLE" | "MUTUAL";
}

export function clientTls(
  spec: ClientTlsSpec | undefined,
): ClientTls | undefined {
  return spec === undefined || spec.mode === "DISABLE"
    ? undefined
    : { ...spec, mode: spec.mode };
}

/** How a sidecar speaks TLS with its own application. */
export interface ApplicationTlsSpec extends Pick<
  ClientTlsSpec,
  "caBundle" | "subjectAltNames"
> {
  readonly sni: string;
}

const FILE = {
  pattern: "^/[^\\u0000]*$",
  maxLength: 1024,
  expected: "an absolute path of a file on the caller's machine",
} as const;

const CA_BUNDLE = Type.Optional(
  Type.String({ minLength: 1, maxLength: 262_144 }),
);
const NAMES = Type.Optional(
  Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), {
    minItems: 1,
    maxItems: 64,
  }),
);

export const APPLICATION_TLS: TUnsafe<ApplicationTlsSpec> = Type.Unsafe(
  describes<ApplicationTlsSpec>()(
    Type.Object(
      {
        sni: field(
          "The server name to ask the application for.",
          Type.String(DNS_NAME),
        ),
        caBundle: field(
          "The application's own certificate, or the authorities that may have signed it, as PEM. Without it, those that the machine trusts.",
          CA_BUNDLE,
        ),
        subjectAltNames: field(
          "Names of which the application's certificate has one. Without it, it has the server name.",
          NAMES,
        ),
      },
      CLOSED,
    ),
  ),
);

export const CLIENT_TLS: TUnsafe<ClientTlsSpec> = Type.Unsafe(
  describes<ClientTlsSpec>()(
    Type.Object(
      {
        mode: field(
          "SIMPLE: the server proves its identity. MUTUAL: the caller does, too. DISABLE: plaintext, for a port whose Service has TLS.",
          Type.Enum(["DISABLE", "SIMPLE", "MUTUAL"]),
        ),
        sni: field(
          "The server name to ask for. Without it, the host that is connected to.",
          Type.Optional(Type.String(DNS_NAME)),
        ),
        caBundle: field(
          "The authorities that may have signed the server's certificate, as PEM. Without it, those that the caller's machine trusts.",
          CA_BUNDLE,
        ),
        subjectAltNames: field(
          "Names of which the server's certificate has one: DNS names, IP addresses or URIs. Without it, it has the server name.",
          NAMES,
        ),
        clientCertificate: field(
          "The file with the caller's certificate, as PEM. Required for MUTUAL.",
          Type.Optional(Type.String(FILE)),
        ),
        privateKey: field(
          "The file with its key, which nobody else may read. Required for MUTUAL.",
          Type.Optional(Type.String(FILE)),
        ),
      },
      CLOSED,
    ),
  ),
);

export const CLIENT_TLS_UNSUPPORTED: Readonly<Record<string, string>> = {
  "spec.tls.insecureSkipVerify":
    "the server's certificate is always verified; put its authority in caBundle",
  "spec.tls.caCertificates": "put the PEM itself in caBundle",
  "spec.tls.credentialName":
    "there are no secrets to refer to; name the files in clientCertificate and privateKey",
};

const FILES = ["clientCertificate", "privateKey"] as const;

export function checkClientTls(tls: ClientTlsSpec | undefined): Problem[] {
  if (tls === undefined) return [];
  const at = ["spec", "tls"];
  const problems = checkTrusted(tls, at);
  for (const name of FILES)
    if ((tls[name] !== undefined) !== (tls.mode === "MUTUAL"))
      problems.push(
        error(
          [...at, name],
          tls.mode === "MUTUAL"
            ? "is required with mode: MUTUAL"
            : "goes only with mode: MUTUAL",
        ),
      );
  if (tls.mode === "DISABLE")
    for (const name of ["sni", "caBundle", "subjectAltNames"] as const)
      if (tls[name] !== undefined)
        problems.push(error([...at, name], "does not go with mode: DISABLE"));
  return problems;
}

/** What is trusted: the same of servers outside and of the application. */
export function checkTrusted(
  { caBundle, subjectAltNames }: Omit<ApplicationTlsSpec, "sni">,
  at: readonly Segment[],
): Problem[] {
  const problems = duplicates(
    subjectAltNames,
    (name) => name,
    (index) => [...at, "subjectAltNames", index],
    "the name",
  );
  const fault = bundleFault(caBundle);
  if (fault !== undefined) problems.push(error([...at, "caBundle"], fault));
  for (const [index, name] of (subjectAltNames ?? []).entries())
    if (!isAltName(name))
      problems.push(
        error(
          [...at, "subjectAltNames", index],
          `${quote(name)} is not a DNS name, an IP address or a URI`,
        ),
      );
  return problems;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g;

/** Why callers could trust nobody by it; undefined where they can. */
function bundleFault(bundle: string | undefined): string | undefined {
  if (bundle === undefined) return undefined;
  const blocks = [...bundle.matchAll(BLOCK)];
  if (blocks.length === 0)
    return 'has no certificate; expected PEM text with "-----BEGIN CERTIFICATE-----"';
  for (const [index, [block, label]] of blocks.entries()) {
    if (label !== "CERTIFICATE")
      return `has a block of type ${label ?? ""}; expected certificates alone`;
    const fault = certificateFault(block);
    if (fault !== undefined)
      return `certificate ${index + 1} cannot be read: ${fault}`;
  }
  return undefined;
}

function certificateFault(pem: string): string | undefined {
  try {
    return new X509Certificate(pem).raw.length > 0 ? undefined : "it is empty";
  } catch (thrown) {
    return messageOf(thrown);
  }
}

const DNS = new RegExp(DNS_NAME.pattern, "i");

function isAltName(name: string): boolean {
  return (
    isIP(name) !== 0 ||
    (name.length <= DNS_NAME.maxLength && DNS.test(name)) ||
    /^[a-z][a-z0-9+.-]*:\/\/[!-~]+$/i.test(name)
  );
}
