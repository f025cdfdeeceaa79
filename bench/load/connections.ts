/** Connections in numbers: opened one after the other to see what each costs, or held open to see what each keeps. */
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import {
  connect as connectTls,
  createSecureContext,
  type ConnectionOptions,
  type TLSSocket,
} from "node:tls";
import type { Clock } from "../../src/core/clock.ts";
import { messageOf, UserError } from "../../src/core/errors.ts";
import {
  HOST,
  INBOUND_PORT,
  OUTBOUND_PORT,
  overHttp2,
  type PeerSettings,
  type Speech,
} from "../peer.ts";

/** Opens a connection, and resolves once the other side has said something on it. */
export type Open = () => Promise<Socket>;

const LOOPBACK = "127.0.0.1";
const REQUEST = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
/** RFC 9113, section 3.4: the preface, and a SETTINGS frame without settings. */
const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** A caller's, in the clear, that has had one answer. */
export const openCaller: Open = () =>
  new Promise((resolve, reject) => {
    const socket = connect(OUTBOUND_PORT, LOOPBACK, () =>
      socket.write(REQUEST),
    );
    spoken(socket, resolve, reject);
  });

/** A link's: a full handshake with the caller's certificate, up to the first bytes after it, which prove that it was taken. */
export function linkOpener(settings: PeerSettings): Open {
  const tls = linkTls(settings);
  return () =>
    new Promise((resolve, reject) => {
      const socket = connectTls(tls, () =>
        socket.write(socket.alpnProtocol === "h2" ? PREFACE : REQUEST),
      );
      spoken(socket, resolve, reject);
    });
}

/** A link's in HTTP/2 that has had one answer and minds its SETTINGS and PINGs. */
export function sessionOpener(settings: PeerSettings): Open {
  const tls = linkTls(settings);
  return () =>
    new Promise((resolve, reject) => {
      const socket: TLSSocket = connectTls(tls);
      const session = connectHttp2(`https://${HOST}`, {
        createConnection: () => socket,
      });
      session.on("error", reject);
      session.on("close", () =>
        reject(new Error("closed before the first answer")),
      );
      const stream = session.request({
        ":path": "/",
        // Of our link: where the stream leads.
        "x-wherry-destination": "callee.bench:80",
      });
      stream.on("response", (head) => {
        if (head[":status"] !== 200)
          reject(new Error(`status ${String(head[":status"])}`));
      });
      stream.on("error", reject);
      stream.on("end", () => resolve(socket));
      stream.resume();
    });
}

/** Whether a call through both proxies succeeds. */
export function isServed(apps: Speech): Promise<boolean> {
  if (apps === "tcp") return isServedInBytes();
  return overHttp2(apps) ? isServedInHttp2() : isServedInHttp1();
}

/** The server of bytes says how many it was asked for: none here, and then it ends. */
function isServedInBytes(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(OUTBOUND_PORT, LOOPBACK, () => {
      socket.end(Buffer.from([0, 0, 0, 1]));
    });
    socket.once("data", (chunk: Buffer) => {
      // Before it has its configuration, a sidecar takes the bytes for HTTP, and answers in it.
      resolve(chunk.toString("latin1") === "x");
      socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(false));
  });
}

function isServedInHttp1(): Promise<boolean> {
  const headers = { host: HOST };
  const target = { host: LOOPBACK, port: OUTBOUND_PORT, agent: false } as const;
  return new Promise((resolve) => {
    get({ ...target, headers }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on("error", () => resolve(false));
  });
}

function isServedInHttp2(): Promise<boolean> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${LOOPBACK}:${OUTBOUND_PORT}`);
    session.on("error", () => resolve(false));
    const stream = session.request({ ":authority": HOST, ":path": "/" });
    stream.on("response", (head) => resolve(head[":status"] === 200));
    stream.on("error", () => resolve(false));
    stream.on("close", () => session.close());
    stream.resume();
  });
}

function linkTls(settings: PeerSettings): ConnectionOptions {
  const { caller, root } = settings.certificates;
  return {
    host: LOOPBACK,
    port: INBOUND_PORT,
    ALPNProtocols: [settings.link],
    // The context is made once: what a handshake costs here is not what is measured, but it shares the machine.
    secureContext: createSecureContext({
      cert: readFileSync(caller.certificate),
      key: readFileSync(caller.key),
      ca: readFileSync(root),
      minVersion: "TLSv1.3",
    }),
    // SPIFFE IDs are not host names.
    checkServerIdentity: () => undefined,
  };
}

function spoken(
  socket: Socket,
  resolve: (socket: Socket) => void,
  reject: (error: Error) => void,
): void {
  socket.setNoDelay(true);
  socket.once("data", () => resolve(socket));
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("closed without a word")));
}

/** So many at once until all are open. */
export async function openMany(
  open: Open,
  count: number,
  atOnce: number,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  try {
    while (sockets.length < count)
      sockets.push(
        ...(await Promise.all(
          Array.from(
            { length: Math.min(atOnce, count - sockets.length) },
            open,
          ),
        )),
      );
  } catch (error) {
    for (const socket of sockets) socket.destroy();
    throw new UserError(
      `after ${sockets.length} of ${count} connections: ${messageOf(error)}`,
    );
  }
  return sockets;
}

/** Opens and closes for so many seconds, `atOnce` at a time. Milliseconds of each, in order. */
export async function openAndClose(
  open: Open,
  seconds: number,
  atOnce: number,
  clock: Clock,
): Promise<Float64Array> {
  const took: number[] = [];
  const until = clock.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (clock.now() < until) {
        const from = clock.now();
        const socket = await open();
        took.push(clock.now() - from);
        socket.destroy();
      }
    }),
  );
  return Float64Array.from(took).sort();
}
