/** A token as it is written, taken apart before anything of it is believed (RFC 7515 7.1, RFC 7519 7.2). */
import { isObject } from "../../core/text/json.ts";
import { keyShapeOf } from "./algorithms.ts";

/** Longer ones are refused unread: work on what a stranger sends is bounded. */
export const LONGEST_TOKEN: number = 16 * 1024;

const LONGEST_KEY_ID = 1024;

/** Nothing in it is verified: good for choosing a rule and a key, and for nothing else. */
export interface UnverifiedToken {
  readonly text: string;
  readonly algorithm: string;
  /** Undefined: any key of the algorithm may have signed it. */
  readonly keyId: string | undefined;
  /** Undefined where the payload names none. */
  readonly issuer: string | undefined;
}

export type ReadToken =
  | { readonly ok: true; readonly token: UnverifiedToken }
  | { readonly ok: false; readonly why: string };

const PART = /^[A-Za-z0-9_-]+$/;

/** An explicit type of another sort of token must not pass for this one (RFC 8725 3.11). */
const TYPE = /^(?:application\/)?(?:at\+)?jwt$/i;

export function readToken(text: string): ReadToken {
  if (text.length > LONGEST_TOKEN)
    return refused(`the token is longer than ${LONGEST_TOKEN} bytes`);
  const [header = "", payload = "", signature = "", ...more] = text.split(".");
  if (more.length > 0 || ![header, payload, signature].every(isPart))
    return refused("the token is not in the form HEADER.PAYLOAD.SIGNATURE");
  const head = decodePart(header);
  if (head === undefined)
    return refused("the token's header is not a JSON object in base64url");
  const body = decodePart(payload);
  if (body === undefined)
    return refused("the token's payload is not a JSON object in base64url");
  const { alg, typ, kid } = head;
  if (typeof alg !== "string" || keyShapeOf(alg) === undefined)
    return refused("the token's algorithm is not accepted");
  // No extension is known here, and its signer says that it must not be ignored (RFC 7515 4.1.11).
  if (Object.hasOwn(head, "crit") || Object.hasOwn(head, "b64"))
    return refused("the token needs an extension that is not known here");
  if (typ !== undefined && (typeof typ !== "string" || !TYPE.test(typ)))
    return refused("the token is of another type than JWT");
  if (kid !== undefined && (typeof kid !== "string" || !isKeyId(kid)))
    return refused("the token's key ID is not a text of 1 to 1024 characters");
  return {
    ok: true,
    token: {
      text,
      algorithm: alg,
      keyId: kid,
      issuer: typeof body["iss"] === "string" ? body["iss"] : undefined,
    },
  };
}

function refused(why: string): ReadToken {
  return { ok: false, why };
}

/** Four characters are three bytes, and one left over is none. */
function isPart(part: string): boolean {
  return PART.test(part) && part.length % 4 !== 1;
}

function isKeyId(text: string): boolean {
  return text.length > 0 && text.length <= LONGEST_KEY_ID;
}

/** The JSON object in one part; undefined where it holds none. */
export function decodePart(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(
        Buffer.from(part, "base64url"),
      ),
    );
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
