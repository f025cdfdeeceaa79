/** The properties of a call that an AuthorizationPolicy can ask for (Istio's conditions and sources). */
import { addressBits } from "../../core/text/network.ts";
import {
  claimAt,
  type ClaimValue,
  type VerifiedClaims,
} from "../../identity/jwt/claims.ts";
import { anyReading, wholeReading } from "../../mesh/header-readings.ts";
import { domainsMeant, principalsMeant } from "./aliases.ts";
import {
  destinationAddress,
  remoteAddress,
  sourceAddress,
  type Call,
} from "./call.ts";
import {
  matchExact,
  matchHost,
  matchPath,
  matchRange,
  matchText,
  type CompilePattern,
} from "./patterns.ts";
import type { Attribute } from "./tests.ts";

const CERTIFICATE = "its caller's certificate";
const CONNECTION = "its connection";
const REQUEST = "its request";
const TOKEN = "its verified token";

/** `trustDomains`: the mesh's own and its aliases. */
export function principal(trustDomains: readonly string[]): Attribute {
  return {
    ...PRINCIPAL,
    meant: (values) => principalsMeant(values, trustDomains),
  };
}

export function trustDomain(trustDomains: readonly string[]): Attribute {
  return {
    ...TRUST_DOMAIN,
    meant: (values) => domainsMeant(values, trustDomains),
  };
}

const PRINCIPAL: Attribute = attribute(
  "principal",
  (call) => call.principal,
  matchText,
  CERTIFICATE,
);
export const NAMESPACE: Attribute = attribute(
  "namespace",
  (call) => call.namespace,
  matchText,
  CERTIFICATE,
);
const TRUST_DOMAIN: Attribute = attribute(
  "trust domain",
  (call) => call.trustDomain,
  matchText,
  CERTIFICATE,
);
export const METHOD: Attribute = attribute(
  "method",
  (call) => call.request?.method,
  matchText,
  REQUEST,
);
export const HOST: Attribute = attribute(
  "host",
  (call) => call.request?.host,
  matchHost,
  REQUEST,
);
export const PATH: Attribute = attribute(
  "path",
  (call) => call.request?.path,
  matchPath,
  REQUEST,
);
export const PORT: Attribute = attribute(
  "port",
  (call) => call.port,
  matchText,
  CONNECTION,
);
export const SOURCE_IP: Attribute = ofAddress("source.ip", sourceAddress);
export const DESTINATION_IP: Attribute = ofAddress(
  "destination.ip",
  destinationAddress,
);

export const SERVER_NAME: Attribute = attribute(
  "connection.sni",
  ({ connection }) => connection.serverName,
  matchHost,
  CONNECTION,
);

export const REQUEST_PRINCIPAL: Attribute = ofToken(
  "request principal",
  ({ principal }) => principal,
);
export const AUDIENCES: Attribute = ofToken(
  "token's audience",
  ({ audiences }) => audiences,
);
export const PRESENTER: Attribute = ofToken(
  "token's presenter",
  ({ presenter }) => presenter,
);

/** A claim within claims has a name for each level. */
export function claim(path: readonly string[]): Attribute {
  return ofToken(
    `claim ${path.map((name) => `[${name}]`).join("")}`,
    (claims) => claimAt(claims, path),
  );
}

/** `policyNamespace`: whose accounts are meant where a value names no namespace. */
export function serviceAccount(policyNamespace: string): Attribute {
  return attribute(
    "service account",
    (call) => call.serviceAccount,
    (value) =>
      matchExact(value.includes("/") ? value : `${policyNamespace}/${value}`),
    CERTIFICATE,
  );
}

export function remoteIp(trustedHops: number): Attribute {
  return ofAddress("remote.ip", (call) => remoteAddress(call, trustedHops));
}

export function requestHeader(name: string): Attribute {
  const lower = name.toLowerCase();
  return {
    name: `header ${name}`,
    read: (call) => call.request?.lines(lower),
    compared: (call) => anyReading(lower, call.request?.lines(lower)),
    strict: (call) => wholeReading(lower, call.request?.lines(lower)),
    pattern: matchText,
    origin: REQUEST,
  };
}

function attribute(
  name: string,
  read: Attribute["read"],
  pattern: CompilePattern,
  origin: string,
): Attribute {
  return { name, read, compared: read, pattern, origin };
}

function ofToken(
  name: string,
  read: (claims: VerifiedClaims) => ClaimValue,
): Attribute {
  return attribute(
    name,
    ({ claims }) => claims && read(claims),
    matchText,
    TOKEN,
  );
}

/** The values of a policy are addresses and CIDR ranges. */
function ofAddress(
  name: string,
  read: (call: Call) => string | undefined,
): Attribute {
  const compared: Attribute["compared"] = (call) => {
    const address = read(call);
    return address === undefined ? undefined : addressBits(address);
  };
  return { name, read, compared, pattern: matchRange, origin: CONNECTION };
}
