/** A pair whose callee accepts tokens, and rows of requests to it. */
import type { Test } from "tap";
import type { JwtRule } from "../../../src/resources/request-authentication/spec.ts";
import type { AuthorizationPolicySpec } from "../../../src/resources/authorization-policy/spec.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource, withPair, type Pair } from "../meshes/pair.ts";

const SELECTOR = { matchLabels: { app: "orders" } };

export function tokensOf(jwtRules: readonly JwtRule[], name = "jwt"): Resource {
  return resource("RequestAuthentication", name, {
    selector: SELECTOR,
    jwtRules,
  });
}

export function policyOf(
  spec: AuthorizationPolicySpec,
  name = "policy",
): Resource {
  return resource("AuthorizationPolicy", name, { selector: SELECTOR, ...spec });
}

export interface TokenRow {
  readonly what: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** 200, or the status and the reason's code: "401 TOKEN_INVALID". */
  readonly becomes: string;
  /** What the application sees of headers; "" for none of that name. */
  readonly sees?: Readonly<Record<string, string>>;
  /** Path and query that the application sees. */
  readonly target?: string;
}

export interface TokenOutcome {
  readonly becomes: string;
  readonly sees: Record<string, string>;
  readonly target: string | undefined;
  readonly challenge: string | undefined;
}

export async function outcomeOf(
  pair: Pair,
  { path, headers = {}, sees = {} }: TokenRow,
): Promise<TokenOutcome> {
  const {
    status,
    text,
    reason,
    headers: response,
  } = await pair.call({
    ...(path === undefined ? {} : { path }),
    headers: { ...headers },
  });
  const code = reason?.split(";")[0];
  const got =
    status === 200
      ? (JSON.parse(Buffer.from(text, "latin1").toString("utf8")) as {
          url: string;
          headers: Record<string, string>;
        })
      : undefined;
  return {
    becomes: code === undefined ? String(status) : `${status} ${code}`,
    sees: Object.fromEntries(
      Object.keys(sees).map((name) => [name, got?.headers[name] ?? ""]),
    ),
    target: got?.url,
    challenge: response["www-authenticate"],
  };
}

export type TokenGroup = readonly [
  what: string,
  /** One RequestAuthentication each. */
  rules: readonly (readonly JwtRule[])[],
  rows: readonly TokenRow[],
];

/** Each row twice: cold, and by the tokens that are known. */
export function runGroups(t: Test, groups: readonly TokenGroup[]): void {
  for (const [what, policies, rows] of groups)
    void t.test(what, async (t) => {
      const resources = policies.map((rules, index) =>
        tokensOf(rules, `jwt-${index}`),
      );
      await withPair({ resources }, async (pair) => {
        for (const round of ["cold", "warm"])
          for (const row of rows) {
            const got = await outcomeOf(pair, row);
            t.equal(got.becomes, row.becomes, `${row.what}, ${round}`);
            t.strictSame(got.sees, row.sees ?? {}, `${row.what}, ${round}`);
            if (row.target !== undefined)
              t.equal(got.target, row.target, row.what);
            t.equal(
              got.challenge?.startsWith('Bearer error="invalid_token"') ??
                false,
              row.becomes.startsWith("401"),
              `${row.what}: the challenge`,
            );
          }
      });
    });
}
