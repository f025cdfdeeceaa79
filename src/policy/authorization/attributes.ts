/** The properties of a call that an AuthorizationPolicy can ask for (Istio's conditions and sources). */
import { compileRanges } from "../../core/text/network.ts";
import {
  destinationAddress,
  remoteAddress,
  sourceAddress,
  type Call,
} from "./call.ts";
import {
  matchHost,
  matchPath,
  matchText,
  type CompilePattern,
} from "./patterns.ts";
import type { Attribute } from "./tests.ts";

const CERTIFICATE = "its caller's certificate";
const CONNECTION = "its connection";
const REQUEST = "its request";

export const PRINCIPAL: Attribute = attribute(
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
export const TRUST_DOMAIN: Attribute = attribute(
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

/** `policyNamespace`: whose accounts are meant where a value names no namespace. */
export function serviceAccount(policyNamespace: string): Attribute {
  const compile: CompilePattern = (value) => {
    const account = value.includes("/") ? value : `${policyNamespace}/${value}`;
    return (asked) => asked === account;
  };
  return attribute(
    "service account",
    (call) => call.serviceAccount,
    compile,
    CERTIFICATE,
  );
}

export function remoteIp(trustedHops: number): Attribute {
  return ofAddress("remote.ip", (call) => remoteAddress(call, trustedHops));
}

export function requestHeader(name: string): Attribute {
  const lower = name.toLowerCase();
  return attribute(
    `header ${name}`,
    (call) => call.request?.header(lower),
    matchText,
    REQUEST,
  );
}

/** Each value of a policy is a pattern by itself. */
function attribute(
  name: string,
  read: (call: Call) => string | undefined,
  pattern: CompilePattern,
  origin: string,
): Attribute {
  const compile: Attribute["compile"] = (values) => {
    const tests = values.map(pattern);
    return (value) => tests.some((test) => test(value));
  };
  return { name, read, compile, origin };
}

/** The values of a policy are addresses and CIDR ranges. */
function ofAddress(
  name: string,
  read: (call: Call) => string | undefined,
): Attribute {
  return { name, read, compile: compileRanges, origin: CONNECTION };
}
