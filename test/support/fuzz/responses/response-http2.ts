/** Responses of a hostile application in HTTP/2: field lists and frames, good and odd, and a reading of them by the letter of RFC 9113. */
import { Flag, FrameType } from "../../../../src/wire/http2/frames/frames.ts";
import { chanceOf, type Random } from "../random.ts";
import { encode, frameOf } from "../requests/render-http2.ts";
import type { Pair } from "../requests/request.ts";
import type { ByLetter } from "./response-by-letter.ts";

export interface FramedResponse {
  readonly method: "GET" | "HEAD" | "POST";
  readonly frames: readonly Framed[];
  readonly notes: readonly string[];
}

export type Framed =
  | {
      readonly kind: "fields";
      readonly pairs: readonly Pair[];
      readonly ends: boolean;
    }
  | { readonly kind: "data"; readonly text: string; readonly ends: boolean }
  | { readonly kind: "reset"; readonly code: number };

const STATUSES = [
  "200",
  "200",
  "200",
  "404",
  "500",
  "204",
  "304",
  "206",
  "201",
];
const FIELDS: readonly Pair[] = [
  ["content-type", "text/plain"],
  ["x-a", "b"],
  ["x-a", "again"],
  ["x-empty", ""],
  ["x-latin", "\xe4"],
  ["set-cookie", "a=1; Path=/"],
  ["set-cookie", "b=2"],
  ["cache-control", "no-store"],
  ["vary", "*"],
  ["x-wherry-reason", "DENIED"],
  ["x-forwarded-client-cert", "By=a"],
];
const ODD_FIELDS: readonly Pair[] = [
  ["X-Upper", "1"],
  ["x a", "1"],
  ["", "1"],
  ["x-a", "b\r\nx-injected: 1"],
  ["x-a", "b\0"],
  ["x-a", " b"],
  ["x-a", "b\t"],
  ["x-a", "a\rb"],
  ["connection", "close"],
  ["keep-alive", "timeout=5"],
  ["transfer-encoding", "chunked"],
  ["upgrade", "h2c"],
  ["te", "trailers"],
  ["host", "orders.shop"],
  ["content_length", "3"],
  ["x-a\r\nx-b", "c"],
  ["\xe4", "1"],
  [":path", "/"],
  [":status", "200"],
  [":made-up", "1"],
  ["content-length", "x"],
  ["content-length", "+3"],
  ["content-length", "3, 3"],
  ["content-length", ""],
];
const TRAILERS: readonly Pair[] = [
  ["x-t", "1"],
  ["grpc-status", "0"],
  ["x-t", ""],
  ["content-length", "0"],
  ["set-cookie", "a=b"],
  ["transfer-encoding", "chunked"],
  [":status", "200"],
  ["X-T", "1"],
  ["x-t", "a\nb"],
];
const CHUNKS = ["hello", "x", "\xff\0", "0\r\n\r\n", ""];

interface Draft {
  interims: Pair[][];
  head: Pair[];
  length: string | undefined;
  chunks: string[];
  trailers: Pair[];
  resets: boolean;
  open: boolean;
}

const ODDITIES: readonly (readonly [
  name: string,
  change: (draft: Draft, chance: Random) => void,
])[] = [
  ["field", ({ head }, chance) => head.push(chance.pick(ODD_FIELDS))],
  ["field", ({ head }, chance) => head.push(chance.pick(ODD_FIELDS))],
  ["field first", ({ head }, chance) => head.unshift(chance.pick(FIELDS))],
  [
    "status",
    (draft, chance) => {
      const status = chance.pick([
        ...["99", "600", "2000", "20", "", "2x0", "000", "101", "+20", "200 "],
      ]);
      draft.head[0] = [":status", status];
    },
  ],
  ["no status", ({ head }) => head.shift()],
  [
    "length",
    (draft, chance) => {
      const right = draft.chunks.join("").length;
      draft.length = String(Math.max(0, right + chance.pick([1, -1, 5, 1000])));
    },
  ],
  [
    "two lengths",
    (draft) => {
      draft.length = String(draft.chunks.join("").length);
      draft.head.push(["content-length", draft.length]);
    },
  ],
  ["trailers", ({ trailers }, chance) => trailers.push(chance.pick(TRAILERS))],
  [
    "interims",
    ({ interims }, chance) =>
      interims.push(
        ...Array.from({ length: chance.pick([1, 3, 17]) }, (): Pair[] => [
          [":status", chance.pick(["100", "103", "103", "101"])],
          ["link", "</a>"],
        ]),
      ),
  ],
  ["reset", (draft) => (draft.resets = true)],
  [
    "grown",
    ({ head }, chance) =>
      head.push([
        chance.pick(["x-a", "vary", "link"]),
        `a${chance.pick([" ", ",", ";", "a"]).repeat(1000 + chance.below(40_000))}b`,
      ]),
  ],
  [
    "many fields",
    ({ head }, chance) => {
      for (let count = chance.pick([50, 85, 120]); count > 0; count -= 1)
        head.push([`x-${count}`, "v"]);
    },
  ],
];

export function framedResponseOf(seed: number, index: number): FramedResponse {
  const chance = chanceOf(seed ^ 0x2545f491, index);
  const method = chance.pick(["GET", "GET", "GET", "POST", "HEAD"] as const);
  const status = chance.pick(STATUSES);
  const bare = method === "HEAD" || status === "204" || status === "304";
  const draft: Draft = {
    interims: chance.once(12) ? [[[":status", "103"]]] : [],
    head: [[":status", status]],
    length: undefined,
    chunks: [],
    trailers: [],
    resets: false,
    open: false,
  };
  for (let count = chance.below(4); count > 0; count -= 1)
    draft.head.push(chance.pick(FIELDS));
  if (!bare)
    for (let count = chance.below(4); count > 0; count -= 1)
      draft.chunks.push(chance.pick(CHUNKS));
  if (!bare && chance.once(2))
    draft.length = String(draft.chunks.join("").length);
  if (!bare && chance.once(6)) draft.trailers.push(["x-t", "t"]);
  const notes: string[] = [];
  if (!chance.once(3))
    for (let count = chance.once(4) ? 2 : 1; count > 0; count -= 1) {
      const [name, change] = chance.pick(ODDITIES);
      change(draft, chance);
      notes.push(name);
    }
  return { method, frames: framesOf(draft), notes };
}

function framesOf(draft: Draft): Framed[] {
  const { interims, head, length, chunks, trailers, resets } = draft;
  const frames: Framed[] = interims.map((pairs) => ({
    kind: "fields",
    pairs,
    ends: false,
  }));
  const pairs: Pair[] =
    length === undefined ? head : [...head, ["content-length", length]];
  const last = chunks.length === 0 && trailers.length === 0 && !resets;
  frames.push({ kind: "fields", pairs, ends: last });
  chunks.forEach((text, index) =>
    frames.push({
      kind: "data",
      text,
      ends: index === chunks.length - 1 && trailers.length === 0 && !resets,
    }),
  );
  if (resets) frames.push({ kind: "reset", code: 2 });
  else if (trailers.length > 0)
    frames.push({ kind: "fields", pairs: trailers, ends: true });
  return frames;
}

export function bytesOf(response: FramedResponse, stream: number): Buffer {
  return Buffer.concat(
    response.frames.flatMap((framed) => {
      switch (framed.kind) {
        case "fields":
          return fieldFrames(stream, framed.pairs, framed.ends);
        case "data":
          return frameOf(
            FrameType.DATA,
            framed.ends ? Flag.END_STREAM : 0,
            stream,
            Buffer.from(framed.text, "latin1"),
          );
        case "reset":
          return frameOf(
            FrameType.RST_STREAM,
            0,
            stream,
            Buffer.from([0, 0, 0, framed.code]),
          );
      }
    }),
  );
}

function fieldFrames(
  stream: number,
  pairs: readonly Pair[],
  ends: boolean,
): Buffer[] {
  const block = encode(pairs, 0);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += 16_384) {
    const whole = at + 16_384 >= block.length ? Flag.END_HEADERS : 0;
    const flags = at === 0 && ends ? whole | Flag.END_STREAM : whole;
    const type = at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
    frames.push(frameOf(type, flags, stream, block.subarray(at, at + 16_384)));
  }
  return frames;
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const VALUE = /^(?:[^\0-\x20\x7f](?:[^\0-\x08\n-\x1f\x7f]*[^\0-\x20\x7f])?)?$/;
const OF_CONNECTION =
  /^(?:connection|keep-alive|proxy-connection|upgrade|http2-settings|transfer-encoding|te|host)$/;
const LOOKALIKE =
  /^(?:content_length|transfer_encoding|x_forwarded_client_cert)$/;
const NEVER_TRAILER = /^(?:content-length|set-cookie|host|content-type)$/;
const MOST_FIELDS = 100;
const MOST_LIST = 65_536;
const MOST_INTERIMS = 16;

export function readFramesByLetter({
  frames,
  method,
}: FramedResponse): ByLetter {
  let status: number | undefined;
  let fields: readonly Pair[] = [];
  let length: number | undefined;
  let interims = 0;
  let body = "";
  /** A frame ended where the length said that the content would: what is behind it may come once the caller has all of that. */
  let late = false;
  for (const framed of frames) {
    if (framed.kind === "reset") return { kind: "bad", why: "a reset", late };
    if (framed.kind === "data") {
      body += framed.text;
      late ||= body.length === length;
    } else if (status !== undefined) {
      const { pairs } = framed;
      const none = pairs.some(
        ([name]) => NEVER_TRAILER.test(name) || name.startsWith(":"),
      );
      const why = none ? "a trailer that is none" : flawOf(pairs);
      if (why !== undefined) return { kind: "bad", why, late: true };
      return whole(framed.pairs);
    } else {
      const { pairs } = framed;
      const flaw = flawOf(pairs);
      if (flaw !== undefined) return bad(flaw);
      const [first, ...rest] = pairs;
      if (first?.[0] !== ":status" || !/^[1-5][0-9]{2}$/.test(first[1]))
        return bad("no status");
      if (rest.some(([name]) => name.startsWith(":")))
        return bad("a pseudo-header");
      const lengths = rest.filter(([name]) => name === "content-length");
      if (lengths.length > 1) return bad("two lengths");
      const [said] = lengths;
      if (said !== undefined && !/^[0-9]{1,16}$/.test(said[1]))
        return bad("no length");
      const code = Number(first[1]);
      if (code === 101) return bad("a change of protocol");
      if ((code < 200 || code === 204) && Number(said?.[1] ?? 0) > 0)
        return bad("content announced for a 1xx or 204");
      if (code < 200) {
        interims += 1;
        if (framed.ends || interims > MOST_INTERIMS)
          return bad("a 1xx too many");
        continue;
      }
      status = code;
      fields = rest.filter(([name]) => name !== "content-length");
      length = said === undefined ? undefined : Number(said[1]);
      late = length === 0;
    }
    if (framed.ends) return whole([]);
  }
  return bad("no end");

  function whole(trailers: readonly Pair[]): ByLetter {
    const bare = method === "HEAD" || status === 204 || status === 304;
    if (bare && body !== "") return bad("content where there is none");
    if (!bare && length !== undefined && length !== body.length)
      return { kind: "bad", why: "another length", late };
    return {
      kind: "response",
      status: status ?? 0,
      fields,
      body,
      trailers: trailers.map(([name, value]) => `${name}: ${value}`),
      more: false,
    };
  }
}

function flawOf(pairs: readonly Pair[]): string | undefined {
  let size = 0;
  for (const [name, value] of pairs) {
    size += name.length + value.length + 32;
    const plain = name.startsWith(":") ? name.slice(1) : name;
    if (!NAME.test(plain) || !VALUE.test(value)) return "no field";
    if (OF_CONNECTION.test(name)) return "a field of a connection";
    if (LOOKALIKE.test(name)) return "a lookalike";
  }
  return pairs.length > MOST_FIELDS || size > MOST_LIST
    ? "a large head"
    : undefined;
}

function bad(why: string): ByLetter {
  return { kind: "bad", why };
}
