/** Message heads and trailers to field blocks: pseudo-headers first, and nothing that belongs to one connection (RFC 9113 8.2.2, 8.3). */
import type { RequestHead, ResponseHead } from "../../exchange.ts";
import { FieldClass } from "../../../mesh/field-class.ts";
import { makeField, type Field, type Fields } from "../../fields.ts";
import type { Encoder } from "../hpack/encoder.ts";
import type { ByteWriter } from "./byte-writer.ts";

const NEVER_CROSSES = FieldClass.CONNECTION | FieldClass.FRAMING;

const TE_TRAILERS: Field = makeField("te", "trailers");

function writeFields(encoder: Encoder, fields: Fields, out: ByteWriter): void {
  for (const field of fields)
    if ((field.bits & NEVER_CROSSES) === 0) encoder.field(field, out);
}

export function writeRequestHead(
  encoder: Encoder,
  head: RequestHead,
  out: ByteWriter,
): void {
  encoder.begin(out);
  // RFC 8441 4: what asks for another protocol is a CONNECT here, whatever it is elsewhere.
  encoder.method(head.protocol === undefined ? head.method : "CONNECT", out);
  if (head.method !== "CONNECT" || head.protocol !== undefined) {
    encoder.scheme(head.scheme, out);
    encoder.pair(":authority", head.authority, "incremental", out);
    encoder.pair(":path", head.path, "incremental", out);
    if (head.protocol !== undefined)
      encoder.pair(":protocol", head.protocol, "incremental", out);
  } else {
    encoder.pair(":authority", head.authority, "incremental", out);
  }
  writeFields(encoder, head.fields, out);
  if (head.contentLength !== undefined)
    encoder.pair("content-length", String(head.contentLength), "without", out);
  if (head.acceptsTrailers) encoder.field(TE_TRAILERS, out);
}

export function writeResponseHead(
  encoder: Encoder,
  head: ResponseHead,
  out: ByteWriter,
): void {
  encoder.begin(out);
  encoder.status(head.status, out);
  writeFields(encoder, head.fields, out);
  // RFC 9110 8.6: not in a 1xx or 204.
  if (
    head.contentLength !== undefined &&
    head.status >= 200 &&
    head.status !== 204
  )
    encoder.pair("content-length", String(head.contentLength), "without", out);
}

export function writeTrailers(
  encoder: Encoder,
  trailers: Fields,
  out: ByteWriter,
): void {
  encoder.begin(out);
  for (const field of trailers)
    if ((field.bits & (NEVER_CROSSES | FieldClass.NO_TRAILER)) === 0)
      encoder.field(field, out);
}
