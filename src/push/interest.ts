/** What a sidecar may subscribe to: how each is named in `resource_names_subscribe`, and which names are none. */
import { canonicalAuthority } from "../core/text/authority.ts";
import { formatHostPort, splitHostPort } from "../core/text/host-port.ts";
import { canonicalAddress } from "../core/text/network.ts";
import { resourceName } from "./names.ts";

/** Everything in scope. */
export const EVERYTHING = "*";
/** What acts on the sidecar itself. */
export const SELF = "self";

export type Interest =
  | { readonly kind: "everything" }
  | { readonly kind: "self" }
  /** A Service, for calls to it. */
  | {
      readonly kind: "service";
      readonly namespace: string;
      readonly name: string;
    }
  | Question;

/** Resolved by a resource of its own, a Lookup, whether or not there is anything. */
export type Question =
  /** Whatever a caller of this namespace reaches by that name; canonical, without port. */
  | { readonly kind: "host"; readonly host: string }
  /** What a captured connection to that place reaches; an IPv6 address without brackets. */
  | {
      readonly kind: "address";
      readonly address: string;
      readonly port: number;
    };

/** Names that one sidecar may be subscribed to at a time: twice the questions that it keeps. A sidecar that needs more asks for everything. */
export const MOST_SUBSCRIPTIONS = 8192;
/** NAME.NAMESPACE.svc.TRUST-DOMAIN with each part as long as it may be is shorter: a longer host leads to no Service. */
export const LONGEST_HOST = 640;
const MAX_PORT = 65_535;

const KINDS = { service: "Service", host: "Host", address: "Address" } as const;

/** "*", "self", "Service/shop/orders", "Host//orders.shop", "Address//10.0.0.1:8080". */
export function formatInterest(interest: Interest): string {
  switch (interest.kind) {
    case "everything":
      return EVERYTHING;
    case "self":
      return SELF;
    case "service":
      return resourceName({ ...interest, kind: KINDS.service });
    case "host":
      return resourceName({
        kind: KINDS.host,
        namespace: "",
        name: interest.host,
      });
    case "address":
      return resourceName({
        kind: KINDS.address,
        namespace: "",
        name: formatHostPort(interest.address, interest.port),
      });
  }
}

/** Undefined for what `formatInterest` cannot have made: a thing has one name. */
export function parseInterest(text: string): Interest | undefined {
  if (text === EVERYTHING) return { kind: "everything" };
  if (text === SELF) return { kind: "self" };
  const [kind, namespace, name, ...rest] = text.split("/");
  if (!kind || namespace === undefined || !name || rest.length > 0)
    return undefined;
  if (kind === KINDS.service)
    return namespace === "" ? undefined : { kind: "service", namespace, name };
  if (namespace !== "") return undefined;
  if (kind === KINDS.host) return hostOf(name);
  return kind === KINDS.address ? addressOf(name) : undefined;
}

/** Whether the interest is resolved by a Lookup. */
export function isQuestion(interest: Interest): interest is Question {
  return interest.kind === "host" || interest.kind === "address";
}

/** The version of the Lookup of these Services, sorted. */
export function lookupVersion(services: readonly string[]): string {
  return services.length === 0 ? "none" : services.join(",");
}

function hostOf(name: string): Question | undefined {
  const plain =
    name.length <= LONGEST_HOST &&
    !name.includes(":") &&
    canonicalAuthority(name) === name;
  return plain ? { kind: "host", host: name } : undefined;
}

function addressOf(name: string): Question | undefined {
  const { host, port } = splitHostPort(name);
  const plain =
    canonicalAddress(host) === host &&
    Number.isInteger(port) &&
    port > 0 &&
    port <= MAX_PORT &&
    formatHostPort(host, port) === name;
  return plain ? { kind: "address", address: host, port } : undefined;
}
