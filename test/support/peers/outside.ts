/** Servers outside the mesh that speak TLS, and what authorities outside it sign for them. */
import { createServer as createHttps } from "node:https";
import { createSecureServer } from "node:http2";
import type {
  IncomingMessage,
  RequestListener,
  ServerResponse,
} from "node:http";
import type { Server, Socket } from "node:net";
import {
  createServer as createTls,
  type TlsOptions,
  type TLSSocket,
} from "node:tls";
import type { Test } from "tap";
import { Oid } from "../../../src/identity/extensions.ts";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import {
  ia5,
  leafExtensions,
  namesOf,
  oddCertificate,
  purposes,
  tlv,
  utc,
  utcText,
} from "../certificates/odd-certificates.ts";
import { listening } from "../meshes/pair.ts";

export interface LeafOptions {
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly uris?: readonly string[];
  /** Of the subject, which counts for nothing. */
  readonly commonName?: string;
  /** Milliseconds from now; an hour unless given. */
  readonly lasts?: number;
  /** OIDs of what it is for; servers and clients unless given. */
  readonly purposes?: readonly string[];
}

export interface Leaf {
  readonly cert: string;
  readonly key: string;
}

export interface OutsideAuthority {
  /** PEM of its root. */
  readonly bundle: string;
  leaf(options?: LeafOptions): Leaf;
}

export function outsideAuthority(): OutsideAuthority {
  const { bundle, rootIssuer } = fakeAuthority();
  return {
    bundle,
    leaf({
      dns = ["api.example.test"],
      ips = [],
      uris = [],
      lasts = 3_600_000,
      purposes: use = [Oid.SERVER_AUTH, Oid.CLIENT_AUTH],
      commonName,
    } = {}) {
      const names = [
        ...dns.map((name) => ia5(0x82, name)),
        ...ips.map((ip) => tlv(0x87, Buffer.from(ip.split(".").map(Number)))),
        ...uris.map((uri) => ia5(0x86, uri)),
      ];
      const { name: _name, ...extensions } = leafExtensions("");
      const { pem, privateKeyPem } = oddCertificate({
        issuer: rootIssuer,
        ...(commonName === undefined ? {} : { commonName }),
        extensions: [
          ...Object.values({ ...extensions, purposes: purposes(...use) }),
          ...(names.length === 0 ? [] : [namesOf(...names)]),
        ],
        validity: [
          utc(utcText(Date.now() - 7_200_000)),
          utc(utcText(Date.now() + lasts)),
        ],
      });
      return { cert: pem, key: privateKeyPem };
    },
  };
}

/** What a server saw. */
export interface Seen {
  readonly requests: {
    readonly url: string;
    readonly headers: NodeJS.Dict<string | string[]>;
    readonly scheme: string | undefined;
  }[];
  readonly sessions: {
    readonly reused: boolean;
    readonly serverName: string | false;
    readonly peer: string;
    readonly protocol: string | null;
  }[];
  /** Bytes of TLS records or not, as they came. */
  readonly raw: Buffer[];
}

export interface OutsideServer extends Seen {
  readonly port: number;
  readonly server: Server;
}

/** HTTP/1.1 over TLS, HTTP/2 over TLS, or bytes that come back. */
export async function outsideServer(
  t: Pick<Test, "teardown">,
  kind: "http/1.1" | "h2" | "bytes",
  options: TlsOptions,
): Promise<OutsideServer> {
  const seen: Seen = { requests: [], sessions: [], raw: [] };
  const answer: RequestListener = (
    request: IncomingMessage,
    response: ServerResponse,
  ) => {
    const scheme = request.headers[":scheme" as "host"];
    seen.requests.push({
      url: request.url ?? "",
      headers: request.headers,
      scheme,
    });
    request.resume();
    response.end("outside");
  };
  const server = {
    "http/1.1": () => createHttps(options, answer),
    h2: () => createSecureServer(options, answer as never) as unknown as Server,
    bytes: () => createTls(options, (socket) => socket.pipe(socket)),
  }[kind]();
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => undefined);
    seen.sessions.push({
      reused: socket.isSessionReused(),
      serverName:
        (socket as { servername?: string | false }).servername ?? false,
      peer: socket.getPeerX509Certificate()?.subject ?? "",
      protocol: socket.getProtocol(),
    });
  });
  server.on("tlsClientError", () => undefined);
  const port = await listening(server);
  t.teardown(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return { ...seen, port, server };
}
