/**
 * What both codecs offer to the proxy, and all that the proxy knows of them: heads without framing, bodies pushed in chunks.
 *
 * ```
 *   application → server codec ─ServerStream→ proxy ─ClientStream→ client codec → peer
 *                     request:  head, data, data, end  ⇒  request(), write, write, end
 *                     response: respond, write, end    ⇐  head, data, end
 * ```
 * The codec at one end writes into the codec at the other: no stream object stands between them, and back-pressure is the
 * boolean of `write` with `drained` and `pause`/`resume` on the other side. A chunk may be kept: it is never written to again.
 */
import type { SpiffeUri } from "../core/units.ts";
import type { Code } from "../mesh/reasons.ts";
import type { MeshError } from "../mesh/errors.ts";
import type { Fields } from "./fields.ts";

export type Protocol = "http/1.1" | "h2";

/** A request without anything that belongs to one connection: no Connection, Host, Content-Length, Transfer-Encoding, Upgrade, TE or Keep-Alive in `fields`. */
export interface RequestHead {
  readonly method: string;
  /** "http" or "https"; what the caller said, not a claim about this connection. */
  readonly scheme: string;
  /** Host and optional port, from Host, the absolute form or `:authority`; "" only for HTTP/1.0 without Host. For CONNECT the target. */
  readonly authority: string;
  /** Origin form as received: path and query, or "*" for OPTIONS; "" for a plain CONNECT. */
  readonly path: string;
  /** What the exchange is to become: "websocket", then `method` is GET in either version (wire/websocket); or another `:protocol` of RFC 8441, which is refused. */
  readonly protocol: string | undefined;
  readonly fields: Fields;
  /** Bytes of the body where they were declared; undefined where framing alone tells. */
  readonly contentLength: number | undefined;
  /** The caller says that it takes trailers (TE: trailers); the next hop hears it. Trailers that come are passed on in any case. */
  readonly acceptsTrailers: boolean;
  /** The target is in absolute form, in HTTP/1: the other end is used as an HTTP proxy. */
  readonly absoluteForm: boolean;
}

export interface ResponseHead {
  /** 100 to 599. 101: the request's `protocol` was taken, and bytes follow in both directions. */
  readonly status: number;
  readonly fields: Fields;
  readonly contentLength: number | undefined;
}

/** Takes the body of one message. After `end` or `abort` nothing more comes. */
export interface BodyReceiver {
  data(chunk: Buffer): void;
  end(trailers: Fields | undefined): void;
  /** The other side broke off, or the codec did because of a limit or the grammar. Also after `end`, if the exchange as a whole then fails. */
  abort(error: MeshError): void;
  /** What was written to this exchange has left enough room for more. */
  drained(): void;
}

/** Takes the response of one request. */
export interface ResponseReceiver extends BodyReceiver {
  /** A 1xx other than 101. */
  informational(head: ResponseHead): void;
  /** The final head, or a 101. With `ended`, no body and no `end` follow. */
  head(head: ResponseHead, ended: boolean): void;
}

/** The writing half of a message. */
export interface BodySink {
  /** False: enough is queued, wait for `drained`. The chunk has been taken in either case. */
  write(chunk: Buffer): boolean;
  end(trailers?: Fields): void;
  /** Breaks the whole exchange off: RST_STREAM, or the connection is closed where the protocol has nothing better. */
  abort(error: MeshError): void;
  /** Stops the flow of what comes in on this exchange (the connection stops reading, or no window is given). */
  pause(): void;
  resume(): void;
}

/** Tells the peer of a connection something that concerns no stream in particular. */
export interface Notifier {
  /** False: the connection is over, and nothing is to be sent on it any more. Where the peer does not read, nothing is sent to it. */
  notify(payload: Buffer): boolean;
}

/** One request as a server got it, and the way to answer it. */
export interface ServerStream extends BodySink {
  readonly head: RequestHead;
  /** The same for all requests of a connection; absent where the protocol has no way to notify (HTTP/1.1). */
  readonly notifier?: Notifier;
  /** No body follows the head. */
  readonly ended: boolean;
  readonly connection: ServerConnectionInfo;
  /** Starts the flow of the body to `receiver`; before it the codec holds at most one read and then stops reading. Exactly once. */
  receive(receiver: BodyReceiver): void;
  /** A 1xx; dropped where the caller speaks HTTP/1.0. */
  informational(head: ResponseHead): void;
  /** The final head, once. With `ended`, it is the whole response. */
  respond(head: ResponseHead, ended: boolean): void;
  /** Ends a dialogue in the words of its own protocol, which say why; false where it has none, or is none yet. */
  conclude?(error: MeshError): boolean;
  /**
   * Takes the response back where no byte of it has left the process: another one may be given in its place. False where that
   * cannot be; absent where it never can (a field block of HTTP/2 has changed the table of both ends).
   */
  retract?(): boolean;
}

/** What is known of the connection that a request came on. */
export interface ServerConnectionInfo {
  readonly protocol: Protocol;
  /** SPIFFE id of the verified peer certificate of this very connection; undefined on plaintext. */
  readonly peer: SpiffeUri | undefined;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The address that was called: the socket's own, or the one that it had before it was captured. */
  readonly localAddress: string;
  /** Where the caller meant to go, where the connection was captured. */
  readonly originalDestination:
    | { readonly address: string; readonly port: number }
    | undefined;
  /** The host that TLS names: that of the link, or the caller's own, which is passed on unread otherwise. */
  readonly serverName?: string | undefined;
  /** What is not believed of the caller; undefined where all is. */
  readonly claims?: Claims | undefined;
}

/** Fields of a request that its caller has no right to say. The codec takes them out, so that nobody else sees them. */
export interface Claims {
  /** Bits of `FieldClass`. */
  readonly dropped: number;
  /** What is known instead, behind the caller's own fields. The same for all requests of the connection. */
  readonly known: Fields;
}

/** What a server codec reports to the owner of the listener. */
export interface ServerHandler {
  /** A request head is complete and within the grammar. Must not throw. */
  request(stream: ServerStream): void;
  /** The codec refused what came, and has answered it; for log and metric. */
  refused?(code: Code, detail: string, connection: ServerConnectionInfo): void;
}

/** One server-side connection, whatever its protocol. */
export interface ServerConnection {
  /** Requests in flight. */
  readonly active: number;
  /** Breaks off up to `most` whole responses of which the caller has taken nothing for `ms`, as far as that was looked at; gives how many. */
  shed(ms: number, most: number): number;
  /**
   * Takes no new requests (GOAWAY, Connection: close), finishes those in flight, then closes. HTTP/1 has no word for an idle
   * connection, on which a request may be on its way: it is closed once it has been idle for `idleFor` milliseconds, 0 where absent.
   * A peer of HTTP/2 has as long to acknowledge that it is to open no more streams, and 1 s at least.
   */
  drain(idleFor?: number): void;
  /** Ends at once. */
  destroy(): void;
}

/** One request as a client made it. */
export type ClientStream = BodySink;

/** Which of several workers of a sidecar is at the other end. */
export interface WorkerPlace {
  /** From 0. */
  readonly worker: number;
  readonly workers: number;
}

/** What a client connection tells its pool. Called never from within `request`. */
export interface ClientConnectionObserver {
  /** Room for more streams than before. */
  available(): void;
  /** The peer has several workers, and this connection is one's; trust it no more than the peer. */
  introduced?(place: WorkerPlace): void;
  /** The peer's notice, which may be kept no longer than this call; trust it no more than the peer. */
  noticed?(payload: Buffer): void;
  /** No new streams (GOAWAY, Connection: close, the peer closes); those in flight go on. */
  draining(): void;
  /** Gone; every stream has been told. `error` undefined where it ended in order. */
  closed(error: MeshError | undefined): void;
}

/** One client-side connection, whatever its protocol. */
export interface ClientConnection {
  readonly protocol: Protocol;
  /** Streams in flight. */
  readonly active: number;
  /** How many more streams can be opened now; 0 when draining. */
  readonly capacity: number;
  /** Monotonic milliseconds (the codec's clock) when the peer last sent anything. */
  readonly heardAt: number;
  /** It takes no more requests, by the peer's word (GOAWAY) or our own. */
  readonly draining?: boolean;
  /** We do not read for now: nothing can be heard. */
  readonly deaf?: boolean;
  /** The number of the write that the socket has not taken as a whole yet; undefined where nothing waits. */
  readonly pendingWrite?: number | undefined;
  /** Milliseconds since the other end's kernel acknowledged anything, whether or not a process there runs; undefined where nobody knows. */
  acknowledgedAgo?(): number | undefined;
  /** The peer's `Keep-Alive: timeout` in milliseconds, where it gave one (HTTP/1.1). */
  readonly keepAlive: number | undefined;
  /** Opens a stream; `capacity` must be above 0. With `ended`, the request has no body. */
  request(
    head: RequestHead,
    ended: boolean,
    receiver: ResponseReceiver,
  ): ClientStream;
  /** Asks the peer for a sign of life (H2 PING). HTTP/1.1 has none: rejects. */
  ping(): Promise<void>;
  drain(): void;
  destroy(error?: MeshError): void;
}
