/** What becomes of a request whose token is verified, or which has none: a verified token alone names its user (law 5). */
import { parametersOf } from "../../core/text/query.ts";
import { claimText, type VerifiedClaims } from "../../identity/jwt/claims.ts";
import { dashed } from "../../mesh/field-class.ts";
import type { HeaderPair } from "../../resources/route-filters/schema.ts";
import {
  queryOf,
  readingsOf,
  withoutCookies,
  type FoundToken,
  type TokenRequest,
} from "./find-tokens.ts";
import { spelled, type TokenRule, type TokenRules } from "./token-rules.ts";

/** A token that is the issuer's, for this audience and of this time. */
export interface VerifiedToken {
  /** The rule that it satisfies. */
  readonly rule: TokenRule;
  readonly claims: VerifiedClaims;
  /** Headers that the rule makes of it. */
  readonly outputs: readonly HeaderPair[];
}

/** As `HeaderEdits` and a path; undefined where nothing changes. */
export interface TokenEdits {
  readonly set: readonly HeaderPair[];
  readonly add: readonly HeaderPair[];
  readonly remove: ReadonlySet<string>;
  /** Path and query; undefined: as it was. */
  readonly path: string | undefined;
}

/** A claim that is longer makes no header. */
const LONGEST_VALUE = 8192;

/** The headers that the rule makes of a token whose text is `token`. */
export function outputsOf(
  { payloadHeader, claimHeaders }: TokenRule,
  token: string,
  claims: VerifiedClaims,
): readonly HeaderPair[] {
  const outputs: HeaderPair[] = [];
  if (payloadHeader !== undefined)
    outputs.push({ name: payloadHeader, value: token.split(".")[1] ?? "" });
  for (const { header, claim } of claimHeaders) {
    // A claim may have dots in its name; else they lead into claims within claims.
    const text =
      claimText(claims, [claim]) ?? claimText(claims, claim.split("."));
    const value = text === undefined ? undefined : fieldText(text);
    if (value !== undefined) outputs.push({ name: header, value });
  }
  return outputs;
}

/** A byte a character, as fields are; undefined of what no field can hold (RFC 9110 5.5). */
function fieldText(text: string): string | undefined {
  const bytes = Buffer.from(text, "utf8").toString("latin1");
  return bytes.length > LONGEST_VALUE ||
    /[\0-\x1f\x7f]/.test(bytes) ||
    bytes !== bytes.trim()
    ? undefined
    : bytes;
}

/** `found` and `token` undefined: the request has none. */
export function tokenEdits(
  rules: TokenRules,
  request: TokenRequest,
  found: FoundToken | undefined,
  token: VerifiedToken | undefined,
): TokenEdits | undefined {
  const set: HeaderPair[] = [...(token?.outputs ?? [])];
  const remove = new Set<string>();
  if (rules.outputs.size > 0)
    for (const { name } of request.fields)
      if (
        rules.outputs.has(dashed(name)) &&
        !set.some((pair) => pair.name === name)
      )
        remove.add(name);
  let path: string | undefined;
  if (found !== undefined && token?.rule.forward === false) {
    for (const name of found.headers) remove.add(name);
    if (found.cookies.length > 0)
      withoutTokenCookies(request, new Set(found.cookies), set, remove);
    if (found.params.length > 0)
      path = withoutParameters(request.path, new Set(found.params));
  }
  return set.length === 0 && remove.size === 0 && path === undefined
    ? undefined
    : { set, add: [], remove, path };
}

function withoutTokenCookies(
  { fields }: TokenRequest,
  names: ReadonlySet<string>,
  set: HeaderPair[],
  remove: Set<string>,
): void {
  const kept = fields.flatMap(({ name, value }) =>
    name === "cookie" ? (withoutCookies(value, names) ?? []) : [],
  );
  if (kept.length === 0) remove.add("cookie");
  else set.push({ name: "cookie", value: kept.join("; ") });
}

/** The rest of the query as it was written, but for what is in one piece with them. */
function withoutParameters(path: string, names: ReadonlySet<string>): string {
  const kept = [...parametersOf(queryOf(path))]
    .filter(
      (parameter) =>
        !readingsOf(parameter).some(({ name }) => names.has(spelled(name))),
    )
    .map(({ raw }) => raw);
  const front = path.slice(0, path.indexOf("?"));
  return kept.length === 0 ? front : `${front}?${kept.join("&")}`;
}
