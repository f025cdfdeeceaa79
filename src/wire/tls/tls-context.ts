/** What every TLS connection of the mesh has in common on both ends: its parameters, and the judgement after the handshake. */
import { constants, type X509Certificate } from "node:crypto";
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  type TlsOptions,
  type TLSSocket,
} from "node:tls";
import type { Credentials } from "../../identity/credentials.ts";
import { DEEPEST, judgePeer, type Judgement } from "../../identity/svid.ts";
import type { Trust } from "../../identity/trust.ts";
import type { Protocol } from "../exchange.ts";

/** Post-quantum first; what remains when a peer lacks it is as strong as today's web. */
export const GROUPS = "X25519MLKEM768:X25519:P-256";

const PROTOCOLS: readonly Protocol[] = ["h2", "http/1.1"];

/**
 * All that a context depends on. Replacing a context means giving all of it again: `setSecureContext` falls back to Node's
 * defaults for what is left out, and these admit TLS 1.2 and other groups.
 */
function contextOptions(credentials: Credentials): SecureContextOptions {
  // Without `ca`, Node would trust the public web's authorities.
  if (credentials.trustBundle === "")
    throw new RangeError("credentials without a trust bundle");
  return {
    cert: credentials.certificateChain,
    key: credentials.privateKey,
    ca: credentials.trustBundle,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ecdhCurve: GROUPS,
    // A resumed session would bring an identity that this connection did not prove.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** For `tls.createServer` and for `setSecureContext`. Peers without a certificate, or with a wrong one, get through the handshake: judge them after it. */
export function linkServerOptions(credentials: Credentials): TlsOptions {
  return {
    ...contextOptions(credentials),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [...PROTOCOLS],
  };
}

const clientContexts = new WeakMap<Credentials, SecureContext>();

/** The context of outgoing connections, made once for each credentials. */
export function linkClientContext(credentials: Credentials): SecureContext {
  let context = clientContexts.get(credentials);
  if (context === undefined) {
    context = createSecureContext(contextOptions(credentials));
    clientContexts.set(credentials, context);
  }
  return context;
}

/** The identity at the other end of a connection whose handshake is over. `trustDomains` as `judgePeer` takes them; `presented`: what `presentedChain` gave, where that is known. */
export function judgeSocket(
  socket: TLSSocket,
  trustDomains: readonly string[] | undefined,
  trust: Trust,
  presented: readonly X509Certificate[] = presentedChain(socket),
): Judgement {
  const [leaf, ...issuers] = presented;
  return judgePeer(
    {
      leaf,
      issuers,
      // No end offers or takes sessions; should one be resumed all the same, its identity is not proven here.
      authorized: socket.authorized && !socket.isSessionReused(),
      // An Error by its type, a code in fact.
      authorizationError: textOf(socket.authorizationError),
    },
    trustDomains,
    trust,
  );
}

/** The trust domains that count as this one: those that it is among. */
export function domainsLike(
  domain: string,
  equal: readonly string[] = [],
): readonly string[] {
  return equal.includes(domain) ? equal : [domain];
}

/** The certificates that the peer sent, leaf first and in its order; one more than may be used, where there are more. Nothing about them is verified. */
export function presentedChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (
    let next = socket.getPeerX509Certificate();
    next !== undefined && chain.length < DEEPEST + 2;
    next = next.issuerCertificate
  )
    chain.push(next);
  return chain;
}

/** The protocol that ALPN chose, where it chose one of ours. */
export function protocolOf(
  socket: TLSSocket,
  offered: readonly Protocol[] = PROTOCOLS,
): Protocol | undefined {
  return offered.find((protocol) => protocol === socket.alpnProtocol);
}

function textOf(error: unknown): string | undefined {
  if (typeof error === "string") return error;
  return error instanceof Error ? error.message : undefined;
}

/** OpenSSL's reason alone: its messages are lines of numbers and source files. */
export function reasonOf(error: Error): string {
  return "reason" in error && typeof error.reason === "string"
    ? error.reason
    : error.message;
}

/** For errors that are followed by "close", which is what counts. */
export function ignore(): void {
  // "close" comes next.
}
