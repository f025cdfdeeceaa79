/** What a verified token says, as policies read it. */
import { isObject } from "../../core/text/json.ts";

/** Claims of one text with several values in it, as OAuth writes scopes (RFC 8693 4.2); Istio reads these two so, whatever a rule adds. */
export const SPACE_DELIMITED: readonly string[] = ["scope", "permission"];

/** A list of strings, or one; undefined where the claim is missing or of another type. */
export type ClaimValue = string | readonly string[] | undefined;

export type ClaimSet = Readonly<Record<string, unknown>>;

/** Claims of a token whose signature, issuer, audience and time have been verified. */
export interface VerifiedClaims {
  readonly all: ClaimSet;
  /** Names of those that have several values in one text. */
  readonly spaceDelimited: readonly string[];
  /** "ISSUER/SUBJECT"; undefined where the token lacks either. */
  readonly principal: string | undefined;
  /** The claim `aud`. */
  readonly audiences: readonly string[];
  /** The claim `azp`: the client that the token was issued to. */
  readonly presenter: string | undefined;
}

export function verifiedClaims(
  all: ClaimSet,
  spaceDelimited: readonly string[] = SPACE_DELIMITED,
): VerifiedClaims {
  const issuer = textOf(all["iss"]);
  const subject = textOf(all["sub"]);
  const audience = valueOf(all["aud"]);
  return {
    all,
    spaceDelimited,
    principal:
      issuer === undefined || subject === undefined
        ? undefined
        : `${issuer}/${subject}`,
    audiences:
      typeof audience === "string" ? [audience] : (audience ?? NO_AUDIENCE),
    presenter: textOf(all["azp"]),
  };
}

const NO_AUDIENCE: readonly string[] = [];

/** The claim at a path of names, one for each level, as policies compare it. */
export function claimAt(
  claims: VerifiedClaims,
  path: readonly string[],
): ClaimValue {
  const value = rawClaim(claims, path);
  const [first = ""] = path;
  return typeof value === "string" &&
    path.length === 1 &&
    claims.spaceDelimited.includes(first)
    ? value.split(" ").filter((word) => word !== "")
    : valueOf(value);
}

/** One text for a claim that is a text, an integer, true or false; undefined for any other. */
export function claimText(
  claims: VerifiedClaims,
  path: readonly string[],
): string | undefined {
  const value = rawClaim(claims, path);
  return typeof value === "string" ||
    typeof value === "boolean" ||
    Number.isSafeInteger(value)
    ? String(value)
    : undefined;
}

function rawClaim({ all }: VerifiedClaims, path: readonly string[]): unknown {
  let value: unknown = all;
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function valueOf(value: unknown): ClaimValue {
  if (typeof value === "string") return value;
  return Array.isArray(value)
    ? value.filter((item) => typeof item === "string")
    : undefined;
}
