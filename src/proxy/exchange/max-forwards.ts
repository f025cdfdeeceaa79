/** Max-Forwards of OPTIONS and TRACE (RFC 9110 7.6.2): each hop counts it down, and the one where it has run out responds itself. */
import { MeshError } from "../../mesh/errors.ts";
import type { RequestHead, ResponseHead } from "../../wire/exchange.ts";
import { makeField, type Field, type Fields } from "../../wire/fields.ts";
import { ALLOW } from "./raw-bytes.ts";

const NAME = "max-forwards";
/** More digits than this count as so many nines: nobody has so many hops. */
const MOST_DIGITS = 9;

/** For any other method a recipient may ignore the field, and this one does. */
function isCounted(method: string): boolean {
  return method === "OPTIONS" || method === "TRACE";
}

/**
 * What this proxy responds where the request may go no further, or why it does not; undefined where the request goes on. TRACE is
 * not responded to with the request, as RFC 9110 9.3.8 has it: what proxies have added to it is not for the caller.
 */
export function atLastHop({
  method,
  fields,
}: RequestHead): ResponseHead | MeshError | undefined {
  if (!isCounted(method)) return undefined;
  const hops = hopsOf(fields);
  if (hops === undefined || hops > 0) return undefined;
  if (hops < 0)
    return new MeshError(
      "BAD_REQUEST",
      "invalid Max-Forwards: expected one number",
      { source: "downstream" },
    );
  return method === "OPTIONS"
    ? {
        status: 204,
        fields: [makeField("allow", ALLOW)],
        contentLength: undefined,
      }
    : new MeshError(
        "UNSUPPORTED",
        "Max-Forwards has run out, and this proxy does not respond to TRACE",
        { source: "downstream" },
      );
}

/** Counts down in a head that goes on; `fields` are its own. */
export function countDown(method: string, fields: Field[]): void {
  if (!isCounted(method)) return;
  const at = fields.findIndex(({ name }) => name === NAME);
  const hops = hopsOf(fields);
  if (at >= 0 && hops !== undefined && hops > 0)
    fields[at] = makeField(NAME, String(hops - 1), "without");
}

/** Undefined where there is no such field; below 0 where it is not one number. */
function hopsOf(fields: Fields): number | undefined {
  let hops: number | undefined;
  for (const { name, value } of fields) {
    if (name !== NAME) continue;
    if (hops !== undefined || !/^[0-9]+$/.test(value)) return -1;
    const digits = value.replace(/^0+(?=[0-9])/, "");
    hops = digits.length > MOST_DIGITS ? 10 ** MOST_DIGITS - 1 : Number(digits);
  }
  return hops;
}
