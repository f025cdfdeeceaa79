/** A WebSocket server below the level of HTTP, which repeats what comes, and a client that sees each byte. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { acceptOf } from "../../../src/wire/websocket/handshake.ts";

/** The example of RFC 6455 1.3. */
export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
export const ACCEPT: string = Buffer.from(
  "b37a4f2cc0624f1690f64606cf385945b2bec4ea",
  "hex",
).toString("base64");

export interface Frame {
  /** The first byte: FIN, RSV and opcode. */
  readonly first: number;
  readonly payload: Buffer;
}

/** A frame with any first byte; masked as a client's, or not. */
export function frame(
  first: number,
  payload: Buffer | string,
  masked: boolean,
): Buffer {
  const body = Buffer.from(payload);
  const length =
    body.length < 126
      ? Buffer.from([body.length])
      : body.length < 65_536
        ? Buffer.from([126, body.length >> 8, body.length & 0xff])
        : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), uint32(body.length)]);
  if (!masked) return Buffer.concat([Buffer.from([first]), length, body]);
  length[0] = (length[0] ?? 0) | 0x80;
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([Buffer.from([first]), length, mask, xor(body, mask)]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function xor(body: Buffer, mask: Buffer): Buffer {
  return Buffer.from(body.map((byte, at) => byte ^ (mask[at % 4] ?? 0)));
}

/** Puts frames together out of what comes. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that end in `chunk`. */
  read(chunk: Buffer): Frame[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      const found = this.#first();
      if (found === undefined) return frames;
      frames.push(found);
    }
  }

  /** Something came that is not whole yet. */
  get within(): boolean {
    return this.#rest.length > 0;
  }

  #first(): Frame | undefined {
    const bytes = this.#rest;
    if (bytes.length < 2) return undefined;
    const masked = ((bytes[1] ?? 0) & 0x80) !== 0;
    let length = (bytes[1] ?? 0) & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) return undefined;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return undefined;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    const mask = masked ? bytes.subarray(at, at + 4) : undefined;
    at += masked ? 4 : 0;
    if (bytes.length < at + length) return undefined;
    const body = bytes.subarray(at, at + length);
    this.#rest = bytes.subarray(at + length);
    return {
      first: bytes[0] ?? 0,
      payload: mask === undefined ? Buffer.from(body) : xor(body, mask),
    };
  }
}

/** Code and reason of a Close frame. */
export function closeOf({ payload }: Frame): {
  code: number;
  reason: string;
} {
  return { code: payload.readUInt16BE(0), reason: payload.toString("utf8", 2) };
}

/** One handshake as the application got it, and what came behind it. */
export interface Session {
  readonly socket: Socket;
  /** The request's head, as it came. */
  readonly head: string;
  readonly frames: Frame[];
  ended: boolean;
}

export class WebSocketApplication {
  readonly sessions: Session[] = [];
  /** Answers the handshake in place of the 101; undefined: it is taken. */
  answer: (head: string) => string | undefined = () => undefined;
  /** Lines of the 101 besides those that there must be. */
  more = "";
  /** What is done with a frame: it is repeated. */
  onFrame: (session: Session, frame: Frame) => void = repeat;

  readonly accept = (socket: Socket): void => {
    let text = "";
    socket.on("error", () => undefined);
    socket.on("end", () => socket.end());
    const onHead = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n") + 4;
      if (end < 4) return;
      socket.off("data", onHead);
      this.#begin(
        socket,
        text.slice(0, end),
        Buffer.from(text.slice(end), "latin1"),
      );
    };
    socket.on("data", onHead);
  };

  #begin(socket: Socket, head: string, rest: Buffer): void {
    const session: Session = { socket, head, frames: [], ended: false };
    this.sessions.push(session);
    socket.on("end", () => (session.ended = true));
    const answer = this.answer(head);
    if (answer !== undefined) {
      socket.write(answer, "latin1");
      return;
    }
    const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? "";
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n${this.more}\r\n`,
    );
    const reader = new FrameReader();
    const onData = (chunk: Buffer): void => {
      for (const each of reader.read(chunk)) {
        session.frames.push(each);
        this.onFrame(session, each);
      }
    };
    socket.on("data", onData);
    if (rest.length > 0) onData(rest);
  }
}

export function repeat({ socket }: Session, { first, payload }: Frame): void {
  socket.write(frame(first, payload, false));
  if ((first & 0x0f) === 8) socket.end();
}

/** The head of a handshake; a line of `fields` replaces that of the same name, and an empty one takes it away. */
export function handshake(
  fields: Readonly<Record<string, string>> = {},
  line = "GET /chat HTTP/1.1",
): string {
  const all = {
    Host: "orders.shop",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    ...fields,
  };
  const lines = Object.entries(all)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line}\r\n${lines.join("")}\r\n`;
}

/** What a client got that speaks by itself. */
export class RawClient {
  readonly socket: Socket;
  head = "";
  readonly frames: Frame[] = [];
  readonly reader: FrameReader = new FrameReader();
  /** Behind the head of an answer that is not 101. */
  rest = "";
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("end", () => (this.closed = true));
    socket.on("close", () => (this.closed = true));
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
  }

  /** Sends `text` on a connection of its own. */
  static async open(port: number, text: string): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    const client = new RawClient(socket);
    socket.write(text, "latin1");
    return client;
  }

  get status(): number {
    return Number(this.head.split(" ")[1] ?? 0);
  }

  #take(chunk: Buffer): void {
    if (this.head !== "") {
      this.#behind(chunk);
      return;
    }
    this.rest += chunk.toString("latin1");
    const end = this.rest.indexOf("\r\n\r\n") + 4;
    if (end < 4) return;
    this.head = this.rest.slice(0, end);
    const more = Buffer.from(this.rest.slice(end), "latin1");
    this.rest = "";
    if (more.length > 0) this.#behind(more);
  }

  #behind(chunk: Buffer): void {
    if (this.status === 101) this.frames.push(...this.reader.read(chunk));
    else this.rest += chunk.toString("latin1");
  }
}
