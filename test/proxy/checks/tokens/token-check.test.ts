/** RequestAuthentication through a real listener: what Istio's reference says of tokens, their places and what becomes of them. */
import t from "tap";
import type { JwtRule } from "../../../../src/resources/request-authentication/spec.ts";
import {
  forged,
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../../support/tokens/issuer.ts";
import { runGroups } from "../../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const other = await testKey("ES256", "o1");
const OTHER = "https://other.example.com";

const base: JwtRule = { issuer: ISSUER, jwks: keySetText(key) };
const second: JwtRule = { issuer: OTHER, jwks: keySetText(other) };

const good = await token(key);
const bob = await token(key, { claims: { sub: "bob" } });
const foreign = await token(other, { claims: { iss: OTHER, sub: "carol" } });
const stranger = await token(other, { claims: { iss: "https://x.example" } });
const shop = await token(key, { claims: { aud: "shop" } });
const listed = await token(key, { claims: { aud: ["web", "shop"] } });
const bad = forged({ alg: "ES256" }, { iss: ISSUER }, "AAAA");
const bearer = (text: string): Record<string, string> => ({
  authorization: `Bearer ${text}`,
});

runGroups(t, [
  [
    "one rule with the usual places",
    [[base]],
    [
      { what: "no token", becomes: "200" },
      {
        what: "Basic is no token",
        headers: { authorization: "Basic YTpi" },
        becomes: "200",
        sees: { authorization: "Basic YTpi" },
      },
      {
        what: "a good token, taken out",
        headers: bearer(good),
        becomes: "200",
        sees: { authorization: "" },
      },
      {
        what: "the scheme has no case",
        headers: { authorization: `bearer ${good}` },
        becomes: "200",
        sees: { authorization: "" },
      },
      {
        what: "a bad token",
        headers: bearer(bad),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "an opaque token",
        headers: bearer("abcdef"),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "a tab behind the scheme",
        headers: { authorization: `Bearer\t${good}` },
        becomes: "200",
        sees: { authorization: "" },
      },
      {
        what: "a bad token behind a tab",
        headers: { authorization: `Bearer\t${bad}` },
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "a scheme that begins as Bearer does",
        headers: { authorization: "Bearers abc" },
        becomes: "200",
        sees: { authorization: "Bearers abc" },
      },
      {
        what: "Bearer without a token",
        headers: { authorization: "Bearer" },
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "another issuer",
        headers: bearer(foreign),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "in the query, taken out",
        path: `/a?x=1&access_token=${good}&y=%20`,
        becomes: "200",
        target: "/a?x=1&y=%20",
      },
      {
        what: "in the query alone",
        path: `/a?access_token=${good}`,
        becomes: "200",
        target: "/a",
      },
      {
        what: "in the query, written in escapes",
        path: `/a?access%5Ftoken=${good.replaceAll(".", "%2E")}`,
        becomes: "200",
        target: "/a",
      },
      {
        what: "a bad one in the query",
        path: `/a?access_token=${bad}`,
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "an empty one in the query",
        path: "/a?access_token=",
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "another parameter",
        path: `/a?token=${bad}`,
        becomes: "200",
        target: `/a?token=${bad}`,
      },
      {
        what: "a cookie is not looked at",
        headers: { cookie: `access_token=${bad}` },
        becomes: "200",
      },
      {
        what: "another header is not looked at",
        headers: { "x-token": bad },
        becomes: "200",
      },
      {
        what: "the same token in two places",
        path: `/a?access_token=${good}`,
        headers: bearer(good),
        becomes: "200",
        target: "/a",
        sees: { authorization: "" },
      },
      {
        what: "two good tokens",
        path: `/a?access_token=${bob}`,
        headers: bearer(good),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "a good and a bad one",
        path: `/a?access_token=${bad}`,
        headers: bearer(good),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "a bad and a good one",
        path: `/a?access_token=${good}`,
        headers: bearer(bad),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "the parameter twice, another token",
        path: `/a?access_token=${good}&access_token=${bob}`,
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "two tokens in one field",
        headers: bearer(`${good}, Bearer ${good}`),
        becomes: "401 TOKEN_INVALID",
      },
      { what: "any audience", headers: bearer(shop), becomes: "200" },
    ],
  ],
  [
    "the token goes on",
    [[{ ...base, forwardOriginalToken: true }]],
    [
      {
        what: "in the header",
        headers: bearer(good),
        becomes: "200",
        sees: { authorization: `Bearer ${good}` },
      },
      {
        what: "in the query",
        path: `/a?access_token=${good}`,
        becomes: "200",
        target: `/a?access_token=${good}`,
      },
      {
        what: "and a bad one does not",
        headers: bearer(bad),
        becomes: "401 TOKEN_INVALID",
      },
    ],
  ],
  [
    "audiences",
    [[{ ...base, audiences: ["shop", "bank"] }]],
    [
      { what: "the audience", headers: bearer(shop), becomes: "200" },
      { what: "one of a list", headers: bearer(listed), becomes: "200" },
      { what: "none", headers: bearer(good), becomes: "403 TOKEN_AUDIENCE" },
      {
        what: "another",
        headers: bearer(await token(key, { claims: { aud: "shopping" } })),
        becomes: "403 TOKEN_AUDIENCE",
      },
      {
        what: "a list of others",
        headers: bearer(await token(key, { claims: { aud: ["a", "b"] } })),
        becomes: "403 TOKEN_AUDIENCE",
      },
      {
        what: "an empty list",
        headers: bearer(await token(key, { claims: { aud: [] } })),
        becomes: "403 TOKEN_AUDIENCE",
      },
      {
        what: "a number",
        headers: bearer(await token(key, { claims: { aud: 7 } })),
        becomes: "403 TOKEN_AUDIENCE",
      },
      {
        what: "case tells",
        headers: bearer(await token(key, { claims: { aud: "Shop" } })),
        becomes: "403 TOKEN_AUDIENCE",
      },
      { what: "no token", becomes: "200" },
    ],
  ],
  [
    "two rules of one resource",
    [[base, second]],
    [
      { what: "the first issuer", headers: bearer(good), becomes: "200" },
      { what: "the second issuer", headers: bearer(foreign), becomes: "200" },
      {
        what: "a third issuer",
        headers: bearer(stranger),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "the second's key for the first's name",
        headers: bearer(await token(other)),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "both, in two places",
        path: `/?access_token=${foreign}`,
        headers: bearer(good),
        becomes: "401 TOKEN_INVALID",
      },
    ],
  ],
  [
    "two resources add up",
    [[base], [{ ...second, fromHeaders: [{ name: "x-other" }] }]],
    [
      {
        what: "each at its place",
        headers: { "x-other": foreign },
        becomes: "200",
      },
      {
        what: "the other's place is not this one's",
        headers: bearer(foreign),
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "nor the other way round",
        headers: { "x-other": good },
        becomes: "401 TOKEN_INVALID",
      },
      { what: "the first at its place", headers: bearer(good), becomes: "200" },
      {
        what: "a good one here and a bad one there",
        headers: { ...bearer(good), "x-other": bad },
        becomes: "401 TOKEN_INVALID",
      },
    ],
  ],
  [
    "two rules of one issuer",
    [
      [
        { ...base, audiences: ["shop"] },
        { ...base, audiences: ["bank"], forwardOriginalToken: true },
      ],
    ],
    [
      {
        what: "the first rule",
        headers: bearer(shop),
        becomes: "200",
        sees: { authorization: "" },
      },
      {
        what: "the second rule, which passes it on",
        headers: bearer(
          await token(key, { claims: { aud: "bank", jti: "1" } }),
        ),
        becomes: "200",
      },
      { what: "neither", headers: bearer(good), becomes: "403 TOKEN_AUDIENCE" },
    ],
  ],
]);
