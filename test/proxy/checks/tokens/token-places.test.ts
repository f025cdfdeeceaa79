/** Where tokens are looked for, and what becomes of their claims, through a real listener. */
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

const base: JwtRule = { issuer: ISSUER, jwks: keySetText(key) };

const good = await token(key);
const bad = forged({ alg: "ES256" }, { iss: ISSUER }, "AAAA");
const rich = await token(key, {
  claims: {
    name: "Älice",
    level: 7,
    half: 1.5,
    admin: true,
    groups: ["a"],
    tenant: { name: "acme", plan: { id: "gold" } },
    "https://example.com/role": "owner",
    broken: "a\r\nx-evil: 1",
  },
});

const bearer = (text: string): Record<string, string> => ({
  authorization: `Bearer ${text}`,
});

runGroups(t, [
  [
    "places of its own",
    [
      [
        {
          ...base,
          fromHeaders: [
            { name: "X-Token" },
            { name: "authorization", prefix: "JWT " },
          ],
          fromParams: ["t"],
          fromCookies: ["sid", "alt"],
        },
      ],
    ],
    [
      {
        what: "a header",
        headers: { "x-token": good },
        becomes: "200",
        sees: { "x-token": "" },
      },
      {
        what: "a header with a prefix",
        headers: { authorization: `JWT ${good}` },
        becomes: "200",
        sees: { authorization: "" },
      },
      {
        what: "a scheme has no case",
        headers: { authorization: `jwt ${good}` },
        becomes: "200",
        sees: { authorization: "" },
      },
      ...[`jwt ${bad}`, `JWT\t${bad}`, "Jwt"].map((authorization) => ({
        what: `a second, forged one: ${authorization.slice(0, 4)}`,
        headers: { "x-token": good, authorization },
        becomes: "401 TOKEN_INVALID",
      })),
      ...["x_token", "x.token"].map((name) => ({
        what: `a second, forged one: ${name}`,
        headers: { "x-token": good, [name]: bad },
        becomes: "400 BAD_REQUEST",
      })),
      ...["T=", "t[]=", "t%5B0%5D=", "+t=", "t%00x=", "a=1;t=", "a;T="].map(
        (query) => ({
          what: `a second, forged one: ${query}`,
          path: `/?t=${good}&${query}${bad}`,
          becomes: "401 TOKEN_INVALID",
        }),
      ),
      ...["a=1, sid=", "a=1,sid=", "a=1 sid=", "Sid=", "sid[]="].map(
        (cookie) => ({
          what: `a second, forged one: ${cookie}`,
          headers: { cookie: `sid=${good}; ${cookie}${bad}` },
          becomes: "401 TOKEN_INVALID",
        }),
      ),
      {
        what: "a good one in one piece with others",
        path: `/?a=1;t=${good}&b=2`,
        headers: { cookie: `a=1, sid=${good}; b=2` },
        becomes: "200",
        target: "/?b=2",
        sees: { cookie: "b=2" },
      },
      { what: "Bearer is not looked at", headers: bearer(bad), becomes: "200" },
      {
        what: "access_token is not looked at",
        path: `/?access_token=${bad}`,
        becomes: "200",
      },
      { what: "a parameter", path: `/?t=${good}`, becomes: "200", target: "/" },
      {
        what: "a bad parameter",
        path: `/?t=${bad}`,
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "a cookie, the others kept",
        headers: { cookie: `a=1; sid=${good}; b=2` },
        becomes: "200",
        sees: { cookie: "a=1; b=2" },
      },
      {
        what: "a cookie alone",
        headers: { cookie: `sid=${good}` },
        becomes: "200",
        sees: { cookie: "" },
      },
      {
        what: "a cookie in quotes",
        headers: { cookie: `alt="${good}"` },
        becomes: "200",
        sees: { cookie: "" },
      },
      {
        what: "a bad cookie",
        headers: { cookie: `sid=${bad}` },
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "another cookie",
        headers: { cookie: `side=${bad}` },
        becomes: "200",
        sees: { cookie: `side=${bad}` },
      },
      {
        what: "a good header and a bad cookie",
        headers: { "x-token": good, cookie: `sid=${bad}` },
        becomes: "401 TOKEN_INVALID",
      },
      {
        what: "an empty header",
        headers: { "x-token": "" },
        becomes: "401 TOKEN_INVALID",
      },
    ],
  ],
  [
    "outputs",
    [
      [
        {
          ...base,
          outputPayloadToHeader: "X-Payload",
          outputClaimToHeaders: [
            { header: "X-User", claim: "sub" },
            { header: "x-name", claim: "name" },
            { header: "x-level", claim: "level" },
            { header: "x-half", claim: "half" },
            { header: "x-admin", claim: "admin" },
            { header: "x-groups", claim: "groups" },
            { header: "x-tenant", claim: "tenant.name" },
            { header: "x-plan", claim: "tenant.plan.id" },
            { header: "x-role", claim: "https://example.com/role" },
            { header: "x-broken", claim: "broken" },
            { header: "x-proto", claim: "__proto__.toString" },
          ],
        },
      ],
    ],
    [
      {
        what: "claims become headers",
        headers: bearer(rich),
        becomes: "200",
        sees: {
          "x-user": "alice",
          "x-name": Buffer.from("Älice").toString("latin1"),
          "x-level": "7",
          "x-admin": "true",
          "x-tenant": "acme",
          "x-plan": "gold",
          "x-role": "owner",
        },
      },
      {
        what: "claims that no header can hold do not",
        headers: bearer(rich),
        becomes: "200",
        sees: {
          "x-half": "",
          "x-groups": "",
          "x-broken": "",
          "x-proto": "",
          "x-evil": "",
        },
      },
      {
        what: "the payload",
        headers: bearer(good),
        becomes: "200",
        sees: { "x-payload": good.split(".")[1] ?? "" },
      },
      {
        what: "what the caller says of it goes",
        headers: {
          ...bearer(good),
          "x-user": "root",
          "x-tenant": "evil",
          "x-payload": "e30",
        },
        becomes: "200",
        sees: {
          "x-user": "alice",
          "x-tenant": "",
          "x-payload": good.split(".")[1] ?? "",
        },
      },
      {
        what: "also without a token",
        headers: { "x-user": "root", "x-payload": "e30", "x-level": "9" },
        becomes: "200",
        sees: { "x-user": "", "x-payload": "", "x-level": "" },
      },
      {
        what: "also said twice",
        headers: { "x-user": ["root", "admin"] },
        becomes: "200",
        sees: { "x-user": "" },
      },
      {
        what: "also with an underscore",
        headers: { ...bearer(good), x_user: "root" },
        becomes: "200",
        sees: { x_user: "", "x-user": "alice" },
      },
      {
        what: "also in other letters",
        headers: { "X-USER": "root" },
        becomes: "200",
        sees: { "x-user": "" },
      },
      {
        what: "other headers stay",
        headers: { "x-username": "root" },
        becomes: "200",
        sees: { "x-username": "root" },
      },
    ],
  ],
]);
