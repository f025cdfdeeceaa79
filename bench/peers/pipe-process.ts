/**
 * The least that a pair of Node processes does: bytes of all callers' connections on one connection of mutual TLS, with no HTTP and no
 * policy. `node pipe-process.ts outbound|inbound PORT TARGET ROOT CERTIFICATE KEY`. Reads go the way of ours, and a turn of
 * the event loop makes one write to each connection.
 */
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import {
  connect as connectTls,
  createServer as createTlsServer,
} from "node:tls";
import { onData } from "../../src/runtime/socket-data.ts";

const LOOPBACK = "127.0.0.1";
/** Before each piece: the number of the caller's connection, and how many bytes follow. None: it has ended. */
const HEAD = 8;

const [side = "", port = "", target = "", ...files] = process.argv.slice(2);
const [ca, cert, key] = files.map((file) => readFileSync(file));
const trust = { ca, cert, key, minVersion: "TLSv1.3" } as const;

/** What a turn of the event loop has for a socket, in one write. */
class Turn {
  readonly #socket: Socket;
  #parts: Buffer[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => undefined);
  }

  add(part: Buffer): void {
    if (this.#parts.push(part) === 1) setImmediate(this.#leave);
  }

  readonly #leave = (): void => {
    const parts = this.#parts;
    this.#parts = [];
    const [first] = parts;
    if (first === undefined || !this.#socket.writable) return;
    this.#socket.write(parts.length === 1 ? first : Buffer.concat(parts));
  };
}

/** The connection between the two, and those that it carries. */
class Link {
  readonly #turn: Turn;
  readonly #carried: Map<number, { socket: Socket; turn: Turn }> = new Map();
  #rest: Buffer = Buffer.alloc(0);

  /** `open` makes what the other side has opened. */
  constructor(socket: Socket, open: (() => Socket) | undefined) {
    this.#turn = new Turn(socket);
    socket.setNoDelay(true);
    onData(socket, (chunk) => {
      let at = 0;
      const bytes =
        this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      while (bytes.length - at >= HEAD) {
        const from = at + HEAD;
        const to = from + bytes.readUInt32BE(at + 4);
        if (to > bytes.length) break;
        this.#deliver(bytes.readUInt32BE(at), bytes.subarray(from, to), open);
        at = to;
      }
      this.#rest = bytes.subarray(at);
    });
  }

  carry(id: number, socket: Socket): void {
    socket.setNoDelay(true);
    this.#carried.set(id, { socket, turn: new Turn(socket) });
    const read = (): void =>
      void onData(socket, (chunk) => this.#send(id, chunk));
    // Before it is connected it has nothing to read into.
    if (socket.connecting) socket.once("connect", read);
    else read();
    socket.on("close", () => {
      if (this.#carried.delete(id)) this.#send(id, Buffer.alloc(0));
    });
  }

  #send(id: number, chunk: Buffer): void {
    const part = Buffer.allocUnsafe(HEAD + chunk.length);
    part.writeUInt32BE(id, 0);
    part.writeUInt32BE(chunk.length, 4);
    chunk.copy(part, HEAD);
    this.#turn.add(part);
  }

  #deliver(id: number, part: Buffer, open: (() => Socket) | undefined): void {
    if (!this.#carried.has(id) && open !== undefined && part.length > 0)
      this.carry(id, open());
    const carried = this.#carried.get(id);
    if (carried === undefined) return;
    if (part.length > 0) {
      carried.turn.add(part);
      return;
    }
    this.#carried.delete(id);
    carried.socket.end();
  }
}

if (side === "outbound") {
  const socket = connectTls(
    {
      ...trust,
      port: Number(target),
      host: LOOPBACK,
      checkServerIdentity: () => undefined,
    },
    () => {
      const link = new Link(socket, undefined);
      let opened = 0;
      createServer((caller) => link.carry(++opened, caller)).listen(
        Number(port),
        LOOPBACK,
      );
    },
  );
} else {
  createTlsServer(
    { ...trust, requestCert: true, rejectUnauthorized: true },
    (socket) => new Link(socket, () => connect(Number(target), LOOPBACK)),
  ).listen(Number(port), LOOPBACK);
}
