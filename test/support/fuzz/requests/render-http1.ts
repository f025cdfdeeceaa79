/** A request as the bytes of HTTP/1. */
import { CASE_FIELD } from "../applications/recording-app.ts";
import type { FuzzRequest } from "./request.ts";

/** Bytes that some parser somewhere takes for a delimiter. */
const OCTETS = '\0\t\n\x0b\x0c\r !"#%(),/0:;<=>?@[\\]_a{}\x7f\x80\x85\xa0\xff';

export interface Http1Text {
  readonly text: string;
  /** What the caller thinks that it has asked by, for the framing of the response. */
  readonly method: string;
}

/** `more`: fields that the listener asks for. */
export function renderHttp1(
  request: FuzzRequest,
  id: string,
  more: readonly (readonly [string, string])[],
): Http1Text {
  const { method, hosts, fields, http1, absolute } = request;
  const { lineEnd, colon, space } = http1;
  const target =
    absolute === undefined
      ? request.target
      : `${absolute.scheme}://${absolute.authority}${request.target}`;
  let text = `${http1.before}${method}${space}${target}${space}${http1.version}${lineEnd}`;
  // First, so that no empty line among the others leaves a request without its number.
  const fixed = text.length;
  for (const [name, value] of more) text += `${name}: ${value}\r\n`;
  text += `${CASE_FIELD}: ${id}\r\n`;
  const tail = text.length;
  for (const host of hosts) text += `host${colon}${host}${lineEnd}`;
  for (const [name, value] of fields)
    text += `${name}${colon}${value}${lineEnd}`;
  for (const line of http1.lines) text += line + lineEnd;
  const content = request.chunks.join("");
  const chunked =
    request.length === undefined &&
    (request.chunks.length > 0 || request.trailers.length > 0);
  if (request.length !== undefined)
    text += `content-length${colon}${request.length}${lineEnd}`;
  else if (chunked)
    text += `transfer-encoding${colon}${http1.coding}${lineEnd}`;
  text += lineEnd;
  if (chunked) {
    for (const chunk of [...request.chunks, ""]) {
      const extension = chunk === "" ? "" : http1.chunkExtension;
      text += `${http1.chunkSize(chunk.length)}${extension}${lineEnd}`;
      if (chunk !== "") text += chunk + lineEnd;
    }
    for (const [name, value] of request.trailers)
      text += `${name}${colon}${value}${lineEnd}`;
    text += lineEnd;
  } else text += content;
  text += http1.after;
  let from = fixed;
  let to = tail;
  for (const mutation of http1.mutations) {
    const length = text.length;
    const [made, at] = mutated(text, from, to, mutation);
    text = made;
    if (at < from) {
      from += text.length - length;
      to += text.length - length;
    }
  }
  return { text, method };
}

/** Changes one byte, but none of the line that carries the case's number: without it nobody knows whose request it was. */
function mutated(
  text: string,
  fixed: number,
  tail: number,
  [share, kind, which]: readonly [number, number, number],
): readonly [text: string, at: number] {
  const span = tail - fixed;
  const free = text.length - span;
  if (free <= 0) return [text, 0];
  let at = share % free;
  if (at >= fixed) at += span;
  const octet = OCTETS.charAt(which % OCTETS.length);
  const before = text.slice(0, at);
  const after = text.slice(at + 1);
  switch (kind) {
    case 0:
      return [before + octet + text.slice(at), at];
    case 1:
      return [before + octet + after, at];
    case 2:
      return [before + after, at];
    case 3: {
      // A piece once more.
      const most = at < fixed ? fixed : text.length;
      const piece = text.slice(at, Math.min(at + 1 + (which % 20), most));
      return [before + piece + text.slice(at), at];
    }
    default: {
      const flipped = text.charCodeAt(at) ^ (1 << (which % 8));
      return [before + String.fromCharCode(flipped) + after, at];
    }
  }
}
