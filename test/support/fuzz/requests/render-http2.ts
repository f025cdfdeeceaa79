/** A request as the frames of HTTP/2. */
import {
  Flag,
  FRAME_HEADER,
  FrameType,
} from "../../../../src/wire/http2/frames/frames.ts";
import { CASE_FIELD } from "../applications/recording-app.ts";
import type { FuzzRequest, Pair } from "./request.ts";

const MOST = 16_384;
/** A space of its own for one block: no case has more. */
const scratch = Buffer.alloc(1 << 20);

export function fieldList(
  request: FuzzRequest,
  id: string,
  more: readonly Pair[],
): Pair[] {
  const { absolute, hosts } = request;
  const [host] = hosts;
  const connect = request.method === "CONNECT";
  // Two of them are two fields, as they are two lines in HTTP/1.
  const repeated =
    hosts.length > 1 || request.fields.some(([name]) => lower(name) === "host");
  let pairs: Pair[] = [[":method", request.method]];
  if (!connect) pairs.push([":scheme", lower(absolute?.scheme ?? "http")]);
  if (absolute !== undefined) pairs.push([":authority", absolute.authority]);
  else if (host !== undefined && !repeated) pairs.push([":authority", host]);
  if (!connect) pairs.push([":path", request.target]);
  if (absolute !== undefined || repeated)
    for (const each of hosts) pairs.push(["host", each]);
  // Names have no case of their own in HTTP/1, and must be in lower case here.
  for (const [name, value] of request.fields) pairs.push([lower(name), value]);
  if (request.length !== undefined)
    pairs.push(["content-length", request.length]);
  if (request.http2.edit !== undefined) pairs = request.http2.edit(pairs);
  pairs.push(...more, [CASE_FIELD, id]);
  return pairs;
}

/** ASCII alone: a byte over 127 is no letter. */
function lower(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

export function renderHttp2(
  request: FuzzRequest,
  pairs: readonly Pair[],
  stream: number,
): Buffer {
  const { http2, trailers, chunks } = request;
  const contents = http2.surplus === "" ? chunks : [...chunks, http2.surplus];
  const empty = contents.length === 0 && trailers.length === 0;
  const frames: Buffer[] = [];
  headerFrames(frames, stream, encode(pairs, http2.literal), empty, http2);
  for (const [type, flags, payload] of http2.between)
    frames.push(frameOf(type, flags, stream, Buffer.from(payload, "latin1")));
  contents.forEach((content, index) => {
    const last = index === contents.length - 1 && trailers.length === 0;
    frames.push(
      frameOf(
        FrameType.DATA,
        (last ? Flag.END_STREAM : 0) | (http2.padding > 0 ? Flag.PADDED : 0),
        stream,
        padded(Buffer.from(content, "latin1"), http2.padding),
      ),
    );
  });
  if (trailers.length > 0)
    headerFrames(
      frames,
      stream,
      encode(
        trailers.map(([name, value]) => [lower(name), value]),
        0,
      ),
      !http2.openTrailers,
      { padding: 0, cut: 0 },
    );
  return frames.length === 1 && frames[0] !== undefined
    ? frames[0]
    : Buffer.concat(frames);
}

function headerFrames(
  into: Buffer[],
  stream: number,
  block: Buffer,
  ends: boolean,
  { padding, cut }: { readonly padding: number; readonly cut: number },
): void {
  const most = cut === 0 ? MOST - 256 : cut;
  const endStream = ends ? Flag.END_STREAM : 0;
  const pad = padding > 0 ? Flag.PADDED : 0;
  for (let at = 0; at === 0 || at < block.length; at += most) {
    const part = block.subarray(at, at + most);
    const endHeaders = at + most >= block.length ? Flag.END_HEADERS : 0;
    into.push(
      at === 0
        ? frameOf(
            FrameType.HEADERS,
            endHeaders | endStream | pad,
            stream,
            padded(part, padding),
          )
        : frameOf(FrameType.CONTINUATION, endHeaders, stream, part),
    );
  }
}

function padded(payload: Buffer, padding: number): Buffer {
  if (padding === 0) return payload;
  return Buffer.concat([
    Buffer.from([padding]),
    payload,
    Buffer.alloc(padding),
  ]);
}

export function frameOf(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer,
): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, FRAME_HEADER);
  return bytes;
}

/** Literals with new names, without Huffman code. */
export function encode(pairs: readonly Pair[], literal: number): Buffer {
  let at = 0;
  for (const [name, value] of pairs) {
    scratch[at] = literal;
    at = text(value, text(name, at + 1));
  }
  return Buffer.from(scratch.subarray(0, at));
}

function text(value: string, start: number): number {
  let at = start;
  let rest = value.length;
  if (rest < 127) scratch[at++] = rest;
  else {
    scratch[at++] = 127;
    rest -= 127;
    while (rest >= 128) {
      scratch[at++] = (rest & 127) | 128;
      rest >>= 7;
    }
    scratch[at++] = rest;
  }
  return at + scratch.write(value, at, "latin1");
}
