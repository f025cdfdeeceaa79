/** A peer that speaks HTTP/2 frame by frame, so that a test can say exactly what goes over the wire. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import {
  ErrorCode,
  Flag,
  FRAME_HEADER,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { Decoder } from "../../../src/wire/http2/hpack/decoder.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export type Pairs = readonly (readonly [name: string, value: string])[];

export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Buffer | string = "",
): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(FRAME_HEADER);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, i * 4));
  return bytes;
}

/** A string literal of fewer than 127 octets, or of up to 16,000, without Huffman code. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127)
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const rest = bytes.length - 127;
  return Buffer.concat([
    Buffer.from([127, (rest & 127) | 128, rest >> 7]),
    bytes,
  ]);
}

/** A field block of literals without indexing (RFC 7541 6.2.2). */
export function block(pairs: Pairs): Buffer {
  return Buffer.concat(
    pairs.map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), text(name), text(value)]),
    ),
  );
}

export const GET: Pairs = [
  [":method", "GET"],
  [":scheme", "http"],
  [":authority", "shop"],
  [":path", "/"],
];
export const POST: Pairs = [[":method", "POST"], ...GET.slice(1)];

export function headers(id: number, pairs: Pairs, ends = true): Buffer {
  const flags = Flag.END_HEADERS | (ends ? Flag.END_STREAM : 0);
  return frame(FrameType.HEADERS, flags, id, block(pairs));
}

export function data(
  id: number,
  content: Buffer | string,
  ends = false,
): Buffer {
  return frame(FrameType.DATA, ends ? Flag.END_STREAM : 0, id, content);
}

export function settings(...pairs: [number, number][]): Buffer {
  return frame(
    FrameType.SETTINGS,
    0,
    0,
    Buffer.concat(
      pairs.map(([setting, value]) => {
        const bytes = Buffer.alloc(6);
        bytes.writeUInt16BE(setting);
        bytes.writeUInt32BE(value, 2);
        return bytes;
      }),
    ),
  );
}

export const SETTINGS_ACK: Buffer = frame(FrameType.SETTINGS, Flag.ACK, 0);

export function windowUpdate(id: number, increment: number): Buffer {
  return frame(FrameType.WINDOW_UPDATE, 0, id, uint32(increment));
}

export function reset(id: number, code: number): Buffer {
  return frame(FrameType.RST_STREAM, 0, id, uint32(code));
}

export function goaway(
  last: number,
  code: number = ErrorCode.NO_ERROR,
): Buffer {
  return frame(FrameType.GOAWAY, 0, 0, uint32(last, code));
}

export class RawPeer {
  readonly socket: Socket;
  /** Frames that no `next` has taken yet. */
  readonly frames: Frame[] = [];
  readonly ended: Promise<void>;
  private readonly decoder = new Decoder({
    headerListBytes: 1e6,
    headerFields: 1000,
    headerTableBytes: 1e6,
  });
  private bytes: Buffer = Buffer.alloc(0);
  private wake: () => void = () => undefined;
  private over = false;
  private pings = 0;

  /** As a server it takes the preface away. */
  constructor(socket: Socket, isServer: boolean) {
    this.socket = socket;
    let preface = isServer ? PREFACE.length : 0;
    socket.on("data", (chunk: Buffer) => {
      const skipped = Math.min(preface, chunk.length);
      preface -= skipped;
      this.bytes = Buffer.concat([this.bytes, chunk.subarray(skipped)]);
      this.cut();
      this.wake();
    });
    socket.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.over = true;
        this.wake();
        resolve();
      };
      socket.on("end", end);
      socket.on("close", end);
    });
  }

  private cut(): void {
    while (this.bytes.length >= FRAME_HEADER) {
      const end = FRAME_HEADER + this.bytes.readUIntBE(0, 3);
      if (this.bytes.length < end) return;
      this.frames.push({
        type: this.bytes[3] ?? 0,
        flags: this.bytes[4] ?? 0,
        id: this.bytes.readUInt32BE(5),
        payload: Buffer.from(this.bytes.subarray(FRAME_HEADER, end)),
      });
      this.bytes = this.bytes.subarray(end);
    }
  }

  send(...chunks: Buffer[]): void {
    this.socket.write(Buffer.concat(chunks));
  }

  /** Takes the next frame of the type (and stream), leaving out those before it. Rejects when the connection ends without it. */
  async next(type: number, id?: number): Promise<Frame> {
    for (;;) {
      const at = this.frames.findIndex(
        (it) => it.type === type && (id === undefined || it.id === id),
      );
      const found = this.frames[at];
      if (found !== undefined) {
        this.frames.splice(0, at + 1);
        return found;
      }
      if (this.over)
        throw new Error(`the connection ended without frame ${type}`);
      await this.arrives();
    }
  }

  /** Waits until something comes, or the connection ends. */
  async arrives(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.wake = () => resolve(undefined);
    if (!this.over) await promise;
  }

  /** Waits until everything sent so far has been handled; gives what was received until then, but for WINDOW_UPDATE and SETTINGS. */
  async settle(): Promise<Frame[]> {
    const payload = Buffer.from(
      `settle${String(++this.pings % 100).padStart(2)}`,
    );
    this.send(frame(FrameType.PING, 0, 0, payload));
    for (;;) {
      const at = this.frames.findIndex(
        (it) =>
          it.type === FrameType.PING &&
          it.flags === Flag.ACK &&
          it.payload.equals(payload),
      );
      if (at >= 0)
        return this.frames
          .splice(0, at + 1)
          .slice(0, -1)
          .filter(
            ({ type }) =>
              type !== FrameType.WINDOW_UPDATE && type !== FrameType.SETTINGS,
          );
      if (this.over) throw new Error("the connection ended");
      await this.arrives();
    }
  }

  /** The fields of a HEADERS frame as "name: value"; every field block must pass through here in order. */
  fields(frame: Frame): string[] {
    this.decoder.decode(frame.payload, 0, frame.payload.length);
    return this.decoder.fields.map(({ name, value }) => `${name}: ${value}`);
  }

  /** The next error code of RST_STREAM for the stream. */
  async resetCode(id: number): Promise<number> {
    return (await this.next(FrameType.RST_STREAM, id)).payload.readUInt32BE(0);
  }

  /** The next GOAWAY. */
  async goaway(): Promise<{ last: number; code: number; debug: string }> {
    const { payload } = await this.next(FrameType.GOAWAY);
    return {
      last: payload.readUInt32BE(0),
      code: payload.readUInt32BE(4),
      debug: payload.toString("latin1", 8),
    };
  }
}

/** Two ends of one TCP connection: accepted and dialled. */
export async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const dialled = connect({ port, host: "127.0.0.1", noDelay: true });
  const [accepted] = (await once(server, "connection")) as [Socket];
  if (dialled.connecting) await once(dialled, "connect");
  server.close();
  return [accepted, dialled];
}
