/** Which tokens a request has: two are enough to refuse it, whatever else a stranger wrote. */
import t from "tap";
import { findTokens } from "../../../src/policy/tokens/find-tokens.ts";
import { compileTokenRules } from "../../../src/policy/tokens/token-rules.ts";
import type { CheckedRequest } from "../../../src/proxy/checks/checked-request.ts";
import { TokenCheck } from "../../../src/proxy/checks/tokens/token-check.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

const JWKS = JSON.stringify({ keys: [], padding: "x".repeat(200_000) });

function rulesOf(issuer: string): ReturnType<typeof compileTokenRules> {
  return compileTokenRules(
    [
      tokensOf([
        { issuer, jwks: JWKS, fromCookies: ["a", "b"], fromParams: ["t"] },
      ]) as Parameters<typeof compileTokenRules>[0][number],
    ],
    { namespace: "shop", labels: { app: "orders" } },
  );
}

const rules = rulesOf("https://issuer.example.com");
if (rules === undefined) throw new Error("there are no rules");

const many = Array.from({ length: 900 }, (_, at) => at);

void t.test("two are found at most", (t) => {
  for (const [what, path, cookie, texts] of [
    ["none", "/", "c=1", []],
    ["the same twice", "/?t=x", "a=x; b=x; c=y", ["x"]],
    ["two", "/?t=y", "a=x", ["y", "x"]],
    ["900 cookies", "/", many.map((at) => `a=${at}`).join(";"), ["0", "1"]],
    [
      "900 parameters",
      `/?${many.map((at) => `t=${at}`).join("&")}`,
      "",
      ["0", "1"],
    ],
  ] as const)
    t.same(
      findTokens(rules, {
        path,
        fields: [{ name: "cookie", value: cookie }],
      }).map(({ text }) => text),
      texts,
      what,
    );
  t.end();
});

void t.test("a request with two is refused, and neither is verified", (t) => {
  const check = new TokenCheck({
    known: () => undefined,
    verify: () => Promise.reject(new Error("is verified")),
  });
  const head = { path: "/", fields: [{ name: "cookie", value: "a=x; b=y" }] };
  t.match(
    check.begin({
      port: { tokens: rules },
      read: {},
      held: { head },
    } as unknown as CheckedRequest),
    {
      code: "TOKEN_INVALID",
      message: /more than one token/,
    },
  );
  t.end();
});

void t.test("the ID of a rule and of its keys is short", (t) => {
  const [rule] = rules.rules;
  const [same] = rulesOf("https://issuer.example.com")?.rules ?? [];
  const [other] = rulesOf("https://other.example.com")?.rules ?? [];
  t.equal(rule?.id, same?.id);
  t.not(rule?.id, other?.id);
  t.equal(rule?.keys.id, other?.keys.id);
  for (const id of [rule?.id, rule?.keys.id]) t.ok((id ?? JWKS).length < 100);
  t.end();
});
