/** Why a message of HTTP/2 is malformed, and what its special fields have in common in requests and responses. */
import { Kind } from "../hpack/names.ts";

/** Why a message is malformed (8.1.1), in words for a log. */
export type Flaw = string;

/** What an INVALID field is, for the log; its value may be a secret and is not shown. */
export function flawOf(kind: number, text: string): Flaw {
  const name = JSON.stringify(text.slice(0, 64));
  switch (kind) {
    case Kind.INVALID:
      return text.startsWith(":")
        ? `the pseudo-header ${name} is not known`
        : `${name} is not a valid field name`;
    case Kind.CONNECTION:
      return `${name} belongs to HTTP/1.1 connections`;
    default:
      return `the value of ${name} is outside its grammar`;
  }
}

/** Digits to a number; `undefined` for what was not there. */
export function lengthOf(value: string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}
