/** What a response must have before a command believes it: another server may respond in the control plane's place, and with 200. */
import { UserError } from "../core/errors.ts";
import { isObject } from "../core/text/json.ts";
import { textWithin } from "../core/text/text-within.ts";
import type { Bytes } from "../core/units.ts";
import type { Resource } from "../resources/envelope.ts";

type Body = Readonly<Record<string, unknown>>;

/** Bytes of a response: more than a mesh of any size has, and less than what a process can hold. */
export const LONGEST_RESPONSE: Bytes = 256 * 1024 * 1024;

/** The text of a body. Throws UserError, having read no further, where it is longer. */
export function readBody(
  body: AsyncIterable<unknown>,
  longest: Bytes,
): Promise<string> {
  return textWithin(body, longest, tooLong);
}

function tooLong(longest: Bytes): UserError {
  return new UserError(
    `the response has more than ${longest} bytes, and is read no further`,
  );
}

/** The list in a response. Throws UserError. */
export function itemsIn(body: unknown, field = "items"): readonly Body[] {
  const items = bodyWith(body, field)[field];
  if (!Array.isArray(items) || !items.every(isObject)) throw unlike(field);
  return items;
}

/** The resource that a response is. Throws UserError. */
export function resourceIn(body: unknown): Resource {
  const { kind, metadata } = bodyWith(body, "metadata");
  if (typeof kind !== "string" || !isObject(metadata)) throw unlike("kind");
  if (typeof metadata["name"] !== "string") throw unlike("name");
  return body as Resource;
}

/** The text of a field of a response, which is not empty. Throws UserError. */
export function textIn(body: unknown, field: string): string {
  const text = bodyWith(body, field)[field];
  if (typeof text !== "string" || text === "") throw unlike(field);
  return text;
}

/** The response, which has the field. Throws UserError. */
export function bodyWith(body: unknown, field: string): Body {
  if (!isObject(body) || body[field] === undefined) throw unlike(field);
  return body;
}

function unlike(field: string): UserError {
  return new UserError(
    `the response has no valid "${field}": is that the control plane's API?`,
  );
}
