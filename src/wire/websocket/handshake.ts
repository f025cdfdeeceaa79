/**
 * The opening handshake of WebSocket as both versions of HTTP have it: an Upgrade in HTTP/1.1 (RFC 6455 4), an extended CONNECT in
 * HTTP/2 (RFC 8441 5). Inside the proxy it is one thing: a GET with `protocol`, and 101 where it was taken.
 *
 * ```
 *   GET /chat, Upgrade: websocket        ─▶ GET, protocol "websocket" ─▶ :method CONNECT, :protocol websocket
 *   101, Upgrade, Sec-WebSocket-Accept   ◀─ 101                       ◀─ :status 200
 * ```
 */
import { createHash, randomBytes } from "node:crypto";
import type { RequestHead, ResponseHead } from "../exchange.ts";
import { fieldValue, joinedValue, makeField, type Field } from "../fields.ts";
import { REFUSALS } from "../refusal.ts";

/** The token of Upgrade, and the value of `:protocol`. */
export const WEBSOCKET = "websocket";

export const KEY = "sec-websocket-key";
export const ACCEPT = "sec-websocket-accept";
export const VERSION = "sec-websocket-version";

/**
 * In a response to an extended CONNECT of a sidecar: its 2xx is an ordinary response, since the application ignored the Upgrade as RFC
 * 9110 7.8 lets it. Without the field a 2xx opens the dialogue.
 */
const IGNORED: Field = makeField("x-wherry-upgrade", "ignored");

/** RFC 6455 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The base64 of 16 bytes (RFC 6455 4.1). */
const ENCODED_KEY = /^[A-Za-z0-9+/]{22}==$/;

/** A request that is to become a dialogue of bytes: a CONNECT, or a change of protocol. */
export function isDialogue(head: RequestHead): boolean {
  return head.method === "CONNECT" || head.protocol !== undefined;
}

/** Whether the response's status makes it one. */
export function opensDialogue(head: RequestHead, status: number): boolean {
  return head.protocol === undefined
    ? head.method === "CONNECT" && status >= 200 && status < 300
    : status === 101;
}

/** The value of Sec-WebSocket-Accept that belongs to a key. */
export function acceptOf(key: string): string {
  return createHash("sha1")
    .update(key + GUID)
    .digest("base64");
}

/** The key of the request; undefined where it has none. */
export function keyOf({
  fields,
}: Pick<RequestHead, "fields">): string | undefined {
  return joinedValue(fields, KEY);
}

/** With a key: a caller that speaks HTTP/2 needs none (RFC 8441 5). The same head where it has one. */
export function keyed(head: RequestHead): RequestHead {
  if (keyOf(head) !== undefined) return head;
  const key = makeField(KEY, randomBytes(16).toString("base64"), "never");
  return { ...head, fields: [...head.fields, key] };
}

/**
 * The final head of an extended CONNECT, as HTTP/2 says it: its 2xx opens the dialogue. Where the application ignored the Upgrade, a
 * sidecar learns that by a field; for others, which a 200 would mislead, the server has no WebSocket there.
 */
export function answerTo(
  request: RequestHead,
  head: ResponseHead,
): ResponseHead {
  const { status, fields } = head;
  if (status === 101) return { status: 200, fields, contentLength: undefined };
  if (status < 200 || status > 299) return head;
  return fieldValue(request.fields, "x-wherry-destination") === undefined
    ? { ...head, status: REFUSALS.webSocketIgnored.status }
    : { ...head, fields: [...fields, IGNORED] };
}

/** Whether the final head of an extended CONNECT opens the dialogue. */
export function opensExtended({ status, fields }: ResponseHead): boolean {
  return (
    status >= 200 &&
    status < 300 &&
    fieldValue(fields, IGNORED.name) === undefined
  );
}

/** Why no server could take the handshake (RFC 6455 4.2.1), where none could. `keyed`: it has to have a key. */
export function handshakeFlaw(
  head: RequestHead,
  keyed: boolean,
): string | undefined {
  if (head.method !== "GET") return "a WebSocket handshake is a GET";
  const key = keyOf(head);
  if (key === undefined ? keyed : !ENCODED_KEY.test(key))
    return "Sec-WebSocket-Key is not the base64 of 16 bytes";
  return undefined;
}

/** The one version that there is (RFC 6455 4.1, 4.4). */
export function isKnownVersion({
  fields,
}: Pick<RequestHead, "fields">): boolean {
  return joinedValue(fields, VERSION) === "13";
}
