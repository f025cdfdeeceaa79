/** What a listener makes of an accepted connection: HTTP or bytes, captured or not, and for which identity. */
import { type Socket } from "node:net";
import type { Lookups } from "../../agent/interest/lookups.ts";
import type { Clock } from "../../core/clock.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Watch } from "../../core/watch.ts";
import { carriesBytes } from "../../mesh/opaque-ports.ts";
import { isOpaque } from "../../policy/compile/clusters.ts";
import type { Destination, Snapshot } from "../../policy/snapshot.ts";
import type {
  ServerConnectionInfo,
  ServerHandler,
} from "../../wire/exchange.ts";
import { originalDestination } from "../../wire/original-destination.ts";
import { classify, sniff, type Sniffed } from "../../wire/sniff.ts";
import {
  mayBeTls,
  readClientHello,
  type ClientHello,
} from "../../wire/tls/client-hello.ts";
import { readLittle } from "../../runtime/socket-data.ts";
import type { Buffers } from "../../wire/buffers.ts";
import {
  arrivalQuestions,
  type Address,
  type LocalUpstream,
} from "../destination.ts";
import { isHeld, lookFor, type Look } from "../not-held.ts";
import { NO_IDENTITY, type ClaimsOf } from "../exchange/forwarded.ts";
import type { Arrival } from "../inbound.ts";
import type { VirtualNames } from "../dns/virtual-addresses.ts";
import type { Serving } from "./serving.ts";

export interface AcceptOptions {
  readonly clock: Clock;
  /** What the proxy holds in all; absent: no bound. */
  readonly buffers?: Buffers | undefined;
  readonly serving: Serving;
  readonly snapshot: Watch<Snapshot | undefined>;
  /** Tells what the snapshot lacks; absent or undefined: it lacks nothing. */
  readonly lookups?: { readonly value: Lookups | undefined };
  /** What captured addresses stand for; absent: names are not resolved here. */
  readonly names?: VirtualNames | undefined;
  readonly claimsOf: ClaimsOf;
  outbound(upstream: LocalUpstream | undefined): ServerHandler;
  inbound(arrival: Arrival): ServerHandler;
}

/** A connection of the local application; `upstream` where the listener leads to one service. */
export function acceptOutbound(
  options: AcceptOptions,
  name: string,
  upstream: LocalUpstream | undefined,
  socket: Socket,
): void {
  const original =
    upstream === undefined ? originalDestination(socket) : undefined;
  const arrival = {
    ...{ name, original },
    upstream: upstream ?? standsFor(options, original),
  };
  // What is at the other end decides how its words are read.
  const first = missing(options, arrival);
  const go = (): void => dispatchOutbound(options, arrival, socket);
  if (first === undefined) go();
  else
    first(() => {
      // A peer that came and went without a byte meanwhile is gone: its end is not reported again.
      if (socket.readableEnded) socket.end();
      // Where that is not known, its request is refused with the reason.
      else if (!socket.destroyed) go();
    });
}

/** A call to such an address is a call by its name. */
function standsFor(
  { names, snapshot }: AcceptOptions,
  original: Address | undefined,
): LocalUpstream | undefined {
  return (
    original &&
    names?.upstreamOf(snapshot.value, original.address, original.port)
  );
}

interface OutboundArrival {
  /** The name of the listener. */
  readonly name: string;
  readonly original: Address | undefined;
  /** What the listener, or the address, leads to. */
  readonly upstream: LocalUpstream | undefined;
}

function missing(
  { lookups, snapshot }: AcceptOptions,
  { original, upstream }: OutboundArrival,
): Look | undefined {
  // Without a config all that comes is refused for that.
  if (snapshot.value === undefined) return undefined;
  const destination = destinationOf(snapshot.value, original, upstream);
  return isHeld(lookups?.value, destination)
    ? undefined
    : lookFor(
        lookups?.value,
        destination,
        arrivalQuestions(original, upstream),
      );
}

function dispatchOutbound(
  options: AcceptOptions,
  { name, original, upstream }: OutboundArrival,
  socket: Socket,
): void {
  const { serving, snapshot } = options;
  const handler = options.outbound(upstream);
  const info = infoOf(socket, undefined, original);
  const authority = authorityOf(original, upstream);
  const destination = destinationOf(snapshot.value, original, upstream);
  const outside = original !== undefined && destination === undefined;
  const opaque =
    destination === undefined
      ? outside && carriesBytes(original.port)
      : isOpaque(destination.port);
  if (authority !== undefined && opaque) {
    const bytes = (serverName?: string): void =>
      serving.bytes(socket, authority, { ...info, serverName }, handler);
    // A client of TLS speaks first. Any other server may, so nobody waits for the client's words.
    if (original !== undefined && destination?.port.appProtocol === "tls")
      look(socket, options, FOR_NAME, (sniffed) => bytes(nameIn(sniffed)));
    else bytes();
    return;
  }
  const waits = {
    timeout: outside ? OUTSIDE_TIMEOUT : undefined,
    forName: original !== undefined,
  };
  look(socket, options, waits, (sniffed) => {
    if (original !== undefined && sniffed.late)
      serving.undetected(name, original.port, outside ? PASSED : TAKEN);
    const passes =
      outside && (!isSure(sniffed) || isForProxy(sniffed, snapshot.value));
    // Where nothing but HTTP is meant, what is not quite HTTP is the strict codec's to refuse: the application's parser may be lenient.
    const kind =
      sniffed.kind === "other" && !outside ? "http/1.1" : sniffed.kind;
    if ((kind === "http/1.1" || kind === "h2") && !passes)
      serving.http(socket, kind, { ...info, protocol: kind }, handler, name);
    else if (authority !== undefined) {
      const named = { ...info, serverName: nameIn(sniffed) };
      serving.bytes(socket, authority, named, handler);
    } else
      serving.turnAway(
        socket,
        name,
        "not HTTP",
        `${kind} on a port that takes HTTP; call an upstream's own port, or CONNECT`,
      );
  });
}

const FOR_NAME = { timeout: undefined, forName: true };
const PASSED =
  "no first words that tell the protocol: passed on as bytes; a MESH_EXTERNAL Service that declares the port tcp spares the wait";
const TAKEN =
  "no first words that tell the protocol: taken for HTTP; where the server speaks first, its Service has to declare the port tcp";

const NOT_READ =
  "what it says of TLS is not one whole ClientHello that names at most one host, within 5 s";

/** The host that TLS names. */
function nameIn({ kind, firstBytes }: Sniffed): string | undefined {
  return kind === "tls" ? readClientHello(firstBytes)?.serverName : undefined;
}

/** The same where more hangs on it: what has not come, or not come whole, names no host and may yet. */
function helloIn({ firstBytes }: Sniffed): ClientHello {
  if (firstBytes.length > 0 && !mayBeTls(firstBytes)) return NOT_TLS;
  return readClientHello(firstBytes) ?? CUT_OFF;
}

const CUT_OFF: ClientHello = { serverName: undefined, unreadable: true };
const NOT_TLS: ClientHello = { serverName: undefined, unreadable: false };

/** A connection to the application that a packet rule redirected. */
export function acceptCaptured(options: AcceptOptions, socket: Socket): void {
  const original = originalDestination(socket);
  if (original === undefined)
    options.serving.turnAway(
      socket,
      "captured",
      "not captured",
      "only connections that a packet rule redirected are taken here",
    );
  else
    acceptInbound(
      options,
      { kind: "captured" },
      original.port,
      original,
      socket,
    );
}

/** A connection to a published port, which leads to the application's `port`. */
export function acceptPublished(
  options: AcceptOptions,
  port: number,
  socket: Socket,
): void {
  acceptInbound(options, { kind: "published", port }, port, undefined, socket);
}

function acceptInbound(
  options: AcceptOptions,
  arrival: Exclude<Arrival, { kind: "link" }>,
  appPort: number,
  original: Address | undefined,
  socket: Socket,
): void {
  const { serving, snapshot } = options;
  const handler = options.inbound(arrival);
  const info = {
    ...infoOf(socket, undefined, original),
    claims: options.claimsOf(socket.remoteAddress ?? ""),
  };
  const authority =
    authorityOf(original, undefined) ??
    formatHostPort(socket.localAddress ?? "", appPort);
  const port = snapshot.value?.inbound.byPort(appPort);
  if (port?.takesBytes === true) {
    if (port.appProtocol !== "tls")
      serving.bytes(socket, authority, info, handler);
    // A client of TLS speaks first, and policy may ask for the host that it names.
    else
      look(socket, options, FOR_NAME, (sniffed) => {
        if (!serving.stillAdmits(socket, arrival.kind)) return;
        const { serverName, unreadable } = helloIn(sniffed);
        // The application may read a name there that policy has not seen.
        if (unreadable)
          serving.turnAway(socket, arrival.kind, "hello not read", NOT_READ);
        else serving.bytes(socket, authority, { ...info, serverName }, handler);
      });
    return;
  }
  const waits = { timeout: undefined, forName: false };
  look(socket, options, waits, ({ kind, late }) => {
    if (!serving.stillAdmits(socket, arrival.kind)) return;
    if (late) serving.undetected(arrival.kind, appPort, TAKEN);
    // On a port for HTTP, what is not quite HTTP is the strict codec's to refuse: the application's parser may be lenient. A silent
    // client there has the time of an idle connection, and no connection to the application. TLS is bytes, which no port for HTTP
    // accepts (law 14): the handler refuses it with its reason.
    const protocol = kind === "other" && port !== undefined ? "http/1.1" : kind;
    if (protocol === "http/1.1" || protocol === "h2")
      serving.http(
        socket,
        protocol,
        { ...info, protocol },
        handler,
        arrival.kind,
      );
    else serving.bytes(socket, authority, info, handler);
  });
}

/**
 * Milliseconds that a captured call to outside the mesh has for its first words: there, no policy for HTTP hangs on them, and where
 * it is the server that speaks first, they do not come.
 */
const OUTSIDE_TIMEOUT = 250;

/** `sniff`, on sockets whose halves end one by one: one that ends before it has said a word is closed. */
function look(
  socket: Socket,
  { clock, buffers }: Pick<AcceptOptions, "clock" | "buffers">,
  waits: { readonly timeout: number | undefined; readonly forName: boolean },
  onResult: (sniffed: Sniffed) => void,
): void {
  const onEnd = (): void => {
    socket.end();
  };
  socket.once("end", onEnd);
  const readAsEver =
    buffers === undefined ? undefined : readLittle(socket, buffers);
  sniff(
    socket,
    clock,
    (sniffed) => {
      socket.off("end", onEnd);
      readAsEver?.();
      onResult(sniffed);
    },
    waits.timeout,
    waits.forName ? hasSpoken : undefined,
  );
}

/** TLS names its host in its first record, which may come in pieces. */
function hasSpoken(bytes: Buffer): boolean {
  return !mayBeTls(bytes) || readClientHello(bytes) !== undefined;
}

/** What came says what it is, and not the time that passed. */
function isSure({ firstBytes }: Sniffed): boolean {
  return classify(firstBytes) !== undefined;
}

/**
 * A CONNECT, which outside is for the proxy that was dialled: nobody else can say that its tunnel is open. As bytes it goes to that
 * address, or is refused; a refusal that is certain is said in HTTP.
 */
function isForProxy(
  { firstBytes }: Sniffed,
  snapshot: Snapshot | undefined,
): boolean {
  return (
    snapshot?.mesh.outboundTrafficPolicy === "ALLOW_ANY" &&
    firstBytes.toString("latin1", 0, CONNECT.length) === CONNECT
  );
}

const CONNECT = "CONNECT ";

export function infoOf(
  socket: Socket,
  peer: SpiffeUri | undefined,
  original: Address | undefined,
): ServerConnectionInfo {
  return {
    protocol: "http/1.1",
    peer,
    remoteAddress: socket.remoteAddress ?? "",
    remotePort: socket.remotePort ?? 0,
    localAddress: original?.address ?? socket.localAddress ?? "",
    originalDestination: original,
    claims: NO_IDENTITY,
  };
}

/** What a connection of bytes is a CONNECT to; undefined where nothing but its words could tell. */
function authorityOf(
  original: Address | undefined,
  upstream: LocalUpstream | undefined,
): string | undefined {
  if (upstream !== undefined)
    return upstream.port === undefined
      ? upstream.host
      : formatHostPort(upstream.host, upstream.port);
  if (original === undefined) return undefined;
  return formatHostPort(original.address, original.port);
}

/** What every word on the connection is for; undefined where the words tell, or nothing in the mesh is there. */
function destinationOf(
  snapshot: Snapshot | undefined,
  original: Address | undefined,
  upstream: LocalUpstream | undefined,
): Destination | undefined {
  if (upstream !== undefined)
    return snapshot?.destination(upstream.host, upstream.port);
  return original === undefined
    ? undefined
    : snapshot?.destinationByAddress(original.address, original.port);
}
