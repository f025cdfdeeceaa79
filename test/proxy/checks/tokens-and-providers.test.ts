/** A port with RequestAuthentication and CUSTOM at once: tokens first, then the provider, then DENY and ALLOW; no word of the caller counts as theirs. */
import t from "tap";
import {
  custom,
  echoed,
  PATIENT,
  withProviders,
} from "../../support/checks/asking-pair.ts";
import { httpScript } from "../../support/checks/providers.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../support/tokens/issuer.ts";
import { policyOf, tokensOf } from "../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const stranger = await testKey("ES256", "k1");
const carol = `Bearer ${await token(key, { claims: { sub: "carol" } })}`;
const dave = `Bearer ${await token(key, { claims: { sub: "dave" } })}`;
const forged = `Bearer ${await token(stranger, { claims: { sub: "carol" } })}`;

const RESOURCES = [
  tokensOf([
    {
      issuer: ISSUER,
      jwks: keySetText(key),
      fromHeaders: [
        { name: "authorization", prefix: "Bearer " },
        { name: "X-Jwt-Token" },
      ],
      outputClaimToHeaders: [{ header: "x-sub", claim: "sub" }],
    },
  ]),
  // Whether it is asked goes by the token, and so does the ALLOW; the DENY goes by what the provider wrote.
  custom("opa", [{ from: [{ source: { requestPrincipals: ["*"] } }] }]),
  policyOf(
    {
      action: "DENY",
      rules: [{ when: [{ key: "request.headers[x-role]", values: ["bad"] }] }],
    },
    "no-bad-roles",
  ),
  policyOf({
    action: "ALLOW",
    rules: [
      {
        when: [{ key: "request.auth.claims[sub]", values: ["carol", "dave"] }],
      },
      { to: [{ operation: { paths: ["/open"] } }] },
    ],
  }),
];

/** What its caller says in trailers. */
const CLAIMED = {
  ...{ "x-sub": "trailer", x_sub: "trailer" },
  ...{ "x-role": "trailer", x_role: "trailer" },
  ...{ "x-jwt-token": "trailer", x_jwt_token: "trailer" },
};

interface Row {
  readonly what: string;
  readonly path?: string;
  readonly authorization?: string;
  /** What the provider sees of headers; undefined: it is not asked. */
  readonly asked?: Readonly<Record<string, string | undefined>>;
  /** 200, or the status and the reason's code. */
  readonly becomes: string;
  /** What the application sees of headers. */
  readonly sees?: Readonly<Record<string, string | undefined>>;
}

const ROWS: readonly Row[] = [
  {
    what: "both pass",
    authorization: carol,
    asked: { "x-sub": "carol", x_sub: undefined, authorization: undefined },
    becomes: "200",
    sees: {
      ...{ "x-sub": "carol", x_sub: undefined, authorization: undefined },
      ...{ "x-role": "buyer", x_role: undefined },
    },
  },
  {
    what: "a forged token: the provider is not asked",
    authorization: forged,
    becomes: "401 TOKEN_INVALID",
  },
  {
    what: "a good token that the provider refuses",
    path: "/no",
    authorization: carol,
    asked: { "x-sub": "carol" },
    becomes: "418 PROVIDER_DENIED",
  },
  {
    what: "what the provider wrote is judged",
    authorization: dave,
    asked: { "x-sub": "dave" },
    becomes: "403 DENIED",
  },
  {
    what: "without a token neither counts as said, and nobody is asked",
    path: "/open",
    becomes: "200",
    sees: {
      ...{ "x-sub": undefined, x_sub: undefined },
      ...{ "x-role": undefined, x_role: undefined },
    },
  },
  {
    what: "without a token the ALLOW by claims does not match",
    becomes: "403 NOT_ALLOWED",
  },
];

void t.test("tokens, a provider and policies at one port", async (t) => {
  const script = await httpScript((request, response) => {
    response.setHeader(
      "x-role",
      request.headers["x-sub"] === "dave" ? "bad" : "buyer",
    );
    response.writeHead(request.url === "/no" ? 418 : 200).end();
  });
  const provider = {
    name: "opa",
    http: {
      address: script.address,
      headersToProvider: ["x-sub", "authorization"],
    },
    headersToApplication: ["x-role"],
    ...PATIENT,
  };
  try {
    await withProviders([provider], { resources: RESOURCES }, async (pair) => {
      for (const round of ["cold", "warm"])
        for (const row of ROWS) {
          const { path = "/", authorization, asked, becomes, sees } = row;
          const what = `${row.what}, ${round}`;
          script.asked.length = 0;
          const answer = await pair.call({
            ...{ path, method: "POST", body: "1" },
            trailers: { ...CLAIMED, "x-sum": "1" },
            headers: {
              "transfer-encoding": "chunked",
              ...{ "x-sub": "mallory", x_sub: "mallory" },
              // The DENY would match what the caller says of itself.
              ...{ "x-role": "bad", x_role: "bad" },
              ...(authorization === undefined ? {} : { authorization }),
            },
          });
          const [code] = answer.reason?.split(";") ?? [];
          t.equal(
            code === undefined
              ? String(answer.status)
              : `${answer.status} ${code}`,
            becomes,
            what,
          );
          t.equal(script.asked.length, asked === undefined ? 0 : 1, what);
          for (const [name, value] of Object.entries(asked ?? {}))
            t.equal(script.asked[0]?.headers[name], value, `${what}: ${name}`);
          for (const [name, value] of Object.entries(sees ?? {}))
            t.equal(echoed(answer).headers[name], value, `${what}: ${name}`);
          if (sees !== undefined)
            t.match(
              echoed(answer),
              { trailers: { "x-sum": "1" } },
              `${what}: other trailers stay`,
            );
          for (const name of Object.keys(CLAIMED))
            t.notMatch(answer.text, `"${name}":"trailer"`, what);
        }
    });
  } finally {
    await script.close();
  }
});
