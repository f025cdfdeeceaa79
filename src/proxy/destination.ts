/** Where a request that the local application made wants to go: a service of the mesh, a place outside it, or nowhere. */
import { readAuthority } from "../core/text/authority.ts";
import { formatHostPort } from "../core/text/host-port.ts";
import { canonicalAddress, comparableAddress } from "../core/text/network.ts";
import { MeshError } from "../mesh/errors.ts";
import { memo } from "../core/memo.ts";
import { isMeshForm } from "../resources/ownership/host-owners.ts";
import { isOpaque } from "../policy/compile/clusters.ts";
import type { CalledName, Destination, Snapshot } from "../policy/snapshot.ts";
import { formatInterest, LONGEST_HOST } from "../push/interest.ts";
import type { RequestHead, ServerConnectionInfo } from "../wire/exchange.ts";
import { isTunnel } from "../wire/tcp.ts";

export interface Address {
  readonly address: string;
  readonly port: number;
}

/** What a connection tells of where its calls go. */
export type Arrived = Pick<ServerConnectionInfo, "originalDestination"> &
  Partial<Pick<ServerConnectionInfo, "serverName">>;

export type Where =
  | {
      readonly kind: "mesh";
      readonly destination: Destination;
    }
  | ({ readonly kind: "outside" } & OutsidePlace)
  | {
      readonly kind: "refused";
      readonly error: MeshError;
      /** Where it would have gone, had policy let it. */
      readonly outside?: OutsidePlace;
    };

/** By name or address. */
interface OutsidePlace {
  readonly host: string;
  readonly port: number;
}

/** A local port that leads to one service (`--upstream`), or an address that stands for a name (`--dns`). */
export interface LocalUpstream {
  readonly host: string;
  readonly port: number | undefined;
  /** The name was resolved here: what the mesh does not have of it may be outside. */
  readonly virtual?: true;
}

/**
 * In this order: the listener's own upstream; the original destination of a captured connection, where Host, or the server name of
 * TLS, says which of the Services there is meant; the target of a CONNECT; Host.
 */
export function whereTo(
  snapshot: Snapshot,
  head: RequestHead,
  connection: Arrived,
  upstream: LocalUpstream | undefined,
): Where {
  if (upstream !== undefined)
    return withHost(head, namedUpstream(snapshot, upstream));
  const tunnel = isTunnel(head);
  const captured = connection.originalDestination;
  if (captured !== undefined)
    return withHost(
      head,
      tunnel
        ? capturedBytes(snapshot, captured, connection.serverName)
        : capturedRequest(snapshot, captured, parseAuthority(head.authority)),
    );
  const named = parseAuthority(head.authority);
  if (named === undefined)
    return refused(
      "BAD_REQUEST",
      `"${head.authority.slice(0, 200)}" is not a host with an optional port`,
    );
  if (tunnel && named.port === undefined)
    return refused("BAD_REQUEST", "the target of CONNECT has no port");
  // A tunnel to a workload's own address is one to its Service: a port for HTTP must not be reached raw by its number (law 14).
  const destination =
    snapshot.destination(named.host, named.port) ??
    (tunnel && named.port !== undefined
      ? snapshot.destinationByAddress(comparableAddress(named.host), named.port)
      : undefined);
  if (destination !== undefined) return { kind: "mesh", destination };
  if (head.scheme === "https" && !tunnel)
    return refused(
      "UNSUPPORTED",
      "https in absolute form would be read by this proxy; use CONNECT",
    );
  return outside(snapshot, named.host, named.port ?? 80);
}

/** The questions whose results, and what comes with them, are all that `whereTo` goes by. */
export function questionsOf(
  head: RequestHead,
  { originalDestination, serverName }: Arrived,
  upstream: LocalUpstream | undefined,
): string[] {
  if (upstream !== undefined || originalDestination !== undefined) {
    const questions = arrivalQuestions(originalDestination, upstream);
    const host = serverName ?? parseAuthority(head.authority)?.host;
    return upstream === undefined &&
      host !== undefined &&
      host !== originalDestination?.address
      ? [...questions, ...hostQuestion(host)]
      : questions;
  }
  const named = parseAuthority(head.authority);
  if (named === undefined) return [];
  const { host, port } = named;
  return isTunnel(head) && port !== undefined
    ? [...hostQuestion(host), ...addressQuestion({ address: host, port })]
    : [...hostQuestion(host)];
}

/** Those of a connection, before it has said a word. */
export function arrivalQuestions(
  captured: Address | undefined,
  upstream: LocalUpstream | undefined,
): string[] {
  if (upstream !== undefined) return [...hostQuestion(upstream.host)];
  return captured === undefined ? [] : [...addressQuestion(captured)];
}

/** None where no Service can have that name. */
const hostQuestion: (host: string) => readonly string[] = memo((host) =>
  host.length > LONGEST_HOST || host.includes(":")
    ? []
    : [formatInterest({ kind: "host", host })],
);

function addressQuestion({ address, port }: Address): readonly string[] {
  const plain = canonicalAddress(address);
  return plain === undefined
    ? []
    : [formatInterest({ kind: "address", address: plain, port })];
}

/** Only HTTP/1.0 has requests without a host. The link has no way to say one, and its other end would be blamed for that. */
function withHost(head: RequestHead, where: Where): Where {
  return where.kind === "mesh" && head.authority === ""
    ? refused("BAD_REQUEST", "a request to a service has no Host")
    : where;
}

function namedUpstream(snapshot: Snapshot, upstream: LocalUpstream): Where {
  const destination = snapshot.destination(upstream.host, upstream.port);
  if (destination !== undefined) return { kind: "mesh", destination };
  return upstream.virtual === true
    ? elsewhere(snapshot, upstream)
    : refused(
        "UNKNOWN_DESTINATION",
        `the listener's upstream ${upstream.host} is not a service of the mesh`,
      );
}

/** A port that no Service has of the name. One of the mesh's own names, or an address that stands for none now, is nowhere else. */
function elsewhere(
  snapshot: Snapshot,
  { host, port = 80 }: LocalUpstream,
): Where {
  return isMeshForm(host, snapshot.mesh.trustDomain)
    ? refused(
        "UNKNOWN_DESTINATION",
        `${formatHostPort(host, port)} is not in the mesh`,
      )
    : outside(snapshot, host, port);
}

function capturedRequest(
  snapshot: Snapshot,
  { address, port }: Address,
  named: CalledName | undefined,
): Where {
  const destination =
    snapshot.destinationOfCaptured(address, port, named) ??
    externalByName(snapshot, named?.host, port);
  return destination === undefined
    ? outside(snapshot, address, port)
    : { kind: "mesh", destination };
}

/** Bytes, which say a name where they are TLS of the application's own. */
function capturedBytes(
  snapshot: Snapshot,
  { address, port }: Address,
  serverName: string | undefined,
): Where {
  const inMesh = snapshot.destinationByAddress(address, port, serverName);
  if (inMesh !== undefined) return { kind: "mesh", destination: inMesh };
  const byName = externalByName(snapshot, serverName, port);
  // Bytes do not reach a port that is declared for HTTP (law 14); the name leaves them where they are.
  return byName === undefined || !isOpaque(byName.port)
    ? outside(snapshot, address, port)
    : { kind: "mesh", destination: byName };
}

/** An external Service is known by its host; its addresses are the resolver's affair. */
function externalByName(
  snapshot: Snapshot,
  host: string | undefined,
  port: number,
): Destination | undefined {
  const found = host && snapshot.destination(host, port);
  return found && found.cluster.external ? found : undefined;
}

function outside(snapshot: Snapshot, host: string, port: number): Where {
  if (snapshot.mesh.outboundTrafficPolicy === "REGISTRY_ONLY")
    return {
      ...refused(
        "UNKNOWN_DESTINATION",
        `${formatHostPort(host, port)} is not in the mesh`,
      ),
      outside: { host, port },
    };
  return { kind: "outside", host, port };
}

function refused(
  code: "BAD_REQUEST" | "UNSUPPORTED" | "UNKNOWN_DESTINATION",
  detail: string,
): Extract<Where, { kind: "refused" }> {
  return {
    kind: "refused",
    error: new MeshError(code, detail, { source: "downstream" }),
  };
}

/** `host`, `host:port` or `[v6]:port`, canonical, an IPv6 address without its brackets; undefined where it is neither. */
export const parseAuthority: (authority: string) => CalledName | undefined =
  memo((authority) => {
    const read = readAuthority(authority);
    return read === undefined
      ? undefined
      : { host: read.host.replace(/^\[|\]$/g, ""), port: read.port };
  });
