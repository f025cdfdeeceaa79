/** Field lists to response heads and trailer sections (RFC 9113 8.1, 8.3.2). */
import type { ResponseHead } from "../../exchange.ts";
import { FieldClass } from "../../../mesh/field-class.ts";
import { type Field, type Fields } from "../../fields.ts";
import { Kind, type WireField } from "../hpack/names.ts";
import { flawOf, lengthOf, type Flaw } from "./flaws.ts";

/** Reads the fields of a response, final or interim (8.3.2). */
export function readResponseHead(
  fields: readonly WireField[],
): ResponseHead | Flaw {
  let status = 0;
  let length: string | undefined;
  const rest: Field[] = [];
  for (const field of fields) {
    const { kind } = field;
    if (kind === Kind.ORDINARY) {
      rest.push(field);
      continue;
    }
    switch (kind) {
      case Kind.STATUS:
        if (status !== 0) return "two :status";
        if (rest.length > 0 || length !== undefined)
          return ":status stands behind an ordinary field";
        status = Number(field.value);
        break;
      case Kind.CONTENT_LENGTH:
        if (length !== undefined) return "two content-length fields";
        length = field.value;
        break;
      case Kind.EXPECT:
        rest.push(field);
        break;
      case Kind.TE:
        return flawOf(field.of.kind, field.name);
      default:
        return kind === Kind.INVALID || kind === Kind.CONNECTION
          ? flawOf(field.of.kind, field.name)
          : `${field.name} in a response`;
    }
  }
  if (status === 0) return "no :status";
  // 8.6: there is no switching of protocols.
  if (status === 101) return "status 101";
  const contentLength = lengthOf(length);
  // RFC 9110 8.6: some would wait for content, some would not.
  if ((status < 200 || status === 204) && (contentLength ?? 0) > 0)
    return "content announced for a 1xx or 204";
  return { status, fields: rest, contentLength };
}

/** Reads a trailer section (8.1). What belongs in the head is refused, as in HTTP/1: some would merge it, some would not (RFC 9110 6.5.1). */
export function readTrailers(fields: readonly WireField[]): Fields | Flaw {
  for (const { kind, bits, of, name } of fields) {
    if (kind === Kind.ORDINARY && (bits & FieldClass.NO_TRAILER) === 0)
      continue;
    return kind === Kind.INVALID || kind === Kind.CONNECTION
      ? flawOf(of.kind, name)
      : `${name} in a trailer section`;
  }
  return fields.slice();
}
