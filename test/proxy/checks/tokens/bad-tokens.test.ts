/** Tokens that must not pass (trap 6; RFC 7515, 7519, 8725), through a real listener; beside each kind one that must. */
import t from "tap";
import { withPair } from "../../../support/meshes/pair.ts";
import {
  forged,
  inSeconds,
  ISSUER,
  keySetText,
  signedByText,
  testKey,
  token,
  type TokenForm,
} from "../../../support/tokens/issuer.ts";
import { outcomeOf, tokensOf } from "../../../support/tokens/token-mesh.ts";

const ALGORITHMS = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];
const keys = await Promise.all(
  ALGORITHMS.map((algorithm) => testKey(algorithm, `of ${algorithm}`)),
);
const es = await testKey("ES256", "k1");
const rs = await testKey("RS256", "r1");
const stranger = await testKey("ES256", "k1");
const encrypting = await testKey("RS256", "enc");
const signing = await testKey("RS256", "ops");
const unnamed = await testKey("ES384", "unnamed");

const { kid: _kid, alg: _alg, ...anonymous } = unnamed.jwk;
const KEYS = keySetText(
  ...keys,
  es,
  rs,
  { ...encrypting.jwk, use: "enc" },
  { ...signing.jwk, use: "sig", key_ops: ["sign"] },
  anonymous,
);

const payload = { iss: ISSUER, sub: "alice", exp: inSeconds(600) };
const good = await token(es);
const [head = "", body = "", signature = ""] = good.split(".");

const of = (form: TokenForm, key = es): Promise<string> => token(key, form);
const raw = (text: string): string => Buffer.from(text).toString("base64url");
const claims = (values: Record<string, unknown>): Promise<string> =>
  of({ claims: values });
const header = (values: Record<string, unknown>): Promise<string> =>
  of({ header: values });
const headed = (values: Record<string, unknown>): string =>
  forged({ alg: "ES256", kid: "k1", ...values }, payload, signature);

const GOOD: readonly (readonly [string, Promise<string> | string])[] = [
  ...keys.map((key) => [key.algorithm, token(key)] as const),
  ["without a key ID", header({ kid: undefined })],
  ["typ JWT", header({ typ: "JWT" })],
  ["typ jwt", header({ typ: "jwt" })],
  ["typ at+jwt", header({ typ: "at+jwt" })],
  ["without an end", claims({ exp: undefined })],
  ["ended within the leeway", claims({ exp: inSeconds(-30) })],
  ["begins within the leeway", claims({ nbf: inSeconds(30) })],
  ["without a subject", claims({ sub: undefined })],
  ["by a key without ID and algorithm", of({}, unnamed)],
  ["as long as may be", claims({ pad: "x".repeat(5000) })],
];

const BAD: readonly (readonly [string, Promise<string> | string, string])[] = [
  // Algorithms.
  ["none", forged({ alg: "none" }, payload, ""), "form"],
  [
    "none, with a signature",
    forged({ alg: "none" }, payload, signature),
    "algorithm",
  ],
  ["None", forged({ alg: "None" }, payload, signature), "algorithm"],
  ["nONE, and a key ID", headed({ alg: "nONE" }), "algorithm"],
  [
    "HS256 by the public key as PEM",
    signedByText({ alg: "HS256", kid: "r1" }, payload, rs.pem),
    "algorithm",
  ],
  [
    "HS256 by the public key as JWK",
    signedByText({ alg: "HS256", kid: "r1" }, payload, JSON.stringify(rs.jwk)),
    "algorithm",
  ],
  [
    "HS256 by the modulus",
    signedByText({ alg: "HS256", kid: "r1" }, payload, rs.jwk.n ?? ""),
    "algorithm",
  ],
  [
    "HS256 by a key that both sides know",
    signedByText({ alg: "HS256", kid: "secret" }, payload, "secret"),
    "algorithm",
  ],
  ["an algorithm that nobody knows", headed({ alg: "ES257" }), "algorithm"],
  ["ES256K", headed({ alg: "ES256K" }), "algorithm"],
  ["an algorithm of encryption", headed({ alg: "RSA-OAEP" }), "algorithm"],
  ["no algorithm", headed({ alg: undefined }), "algorithm"],
  ["a list of algorithms", headed({ alg: ["ES256"] }), "algorithm"],
  [
    "another algorithm than the key's",
    headed({ alg: "RS256", kid: "k1" }),
    "no key",
  ],
  ["PS256 by a key for RS256", headed({ alg: "PS256", kid: "r1" }), "no key"],
  [
    "RS256 by a key for PS256",
    headed({ alg: "RS256", kid: "of PS256" }),
    "no key",
  ],
  [
    "a property of objects as algorithm",
    headed({ alg: "constructor" }),
    "algorithm",
  ],
  // Keys.
  ["a key that is not there", header({ kid: "k2" }), "no key"],
  ["a key ID in other letters", header({ kid: "K1" }), "no key"],
  ["a key ID that is a path", header({ kid: "../../dev/null" }), "no key"],
  ["a key ID of SQL", header({ kid: "' OR 1=1 --" }), "no key"],
  ["a key ID that is a number", headed({ kid: 1 }), "key ID"],
  ["an empty key ID", headed({ kid: "" }), "key ID"],
  ["an endless key ID", headed({ kid: "k".repeat(2000) }), "key ID"],
  ["a key for encryption", token(encrypting), "no key"],
  ["a key that signs alone", token(signing), "no key"],
  ["somebody else's key of the same ID", token(stranger), "signature"],
  [
    "its own key in the header",
    token(stranger, { header: { kid: undefined, jwk: stranger.jwk } }),
    "signature",
  ],
  [
    "its own key set in the header",
    token(stranger, { header: { jku: "http://127.0.0.1:1/" } }),
    "signature",
  ],
  [
    "its own certificate in the header",
    token(stranger, { header: { x5u: "http://127.0.0.1:1/", x5c: ["AA=="] } }),
    "signature",
  ],
  // Extensions and types.
  ["crit", header({ crit: ["exp"], exp: 1 }), "extension"],
  ["crit, empty", header({ crit: [] }), "extension"],
  [
    "crit of something that is known",
    header({ crit: ["b64"], b64: true }),
    "extension",
  ],
  [
    "a payload that is not encoded",
    header({ crit: ["b64"], b64: false }),
    "extension",
  ],
  ["b64 without crit", headed({ b64: false }), "extension"],
  ["a token of security events", header({ typ: "secevent+jwt" }), "type"],
  ["a token of log-outs", header({ typ: "logout+jwt" }), "type"],
  ["a proof of possession", header({ typ: "dpop+jwt" }), "type"],
  ["a type that is a number", headed({ typ: 1 }), "type"],
  // Time.
  ["ended", claims({ exp: inSeconds(-61) }), "expired"],
  ["ended long ago", claims({ exp: 1 }), "expired"],
  ["an end that is a text", claims({ exp: "9999999999" }), "exp"],
  ["an end that is null", claims({ exp: null }), "exp"],
  ["not yet", claims({ nbf: inSeconds(120) }), "not valid yet"],
  ["a beginning that is a text", claims({ nbf: "1" }), "yet"],
  // Whose it is.
  ["no issuer", claims({ iss: undefined }), "issuer"],
  ["another issuer", claims({ iss: "https://evil.example" }), "issuer"],
  ["the issuer with a slash", claims({ iss: `${ISSUER}/` }), "issuer"],
  [
    "the issuer in other letters",
    claims({ iss: ISSUER.toUpperCase() }),
    "issuer",
  ],
  ["a list of issuers", claims({ iss: [ISSUER] }), "issuer"],
  [
    "an issuer that begins with it",
    claims({ iss: `${ISSUER}.evil.example` }),
    "issuer",
  ],
  // Form.
  [
    "another payload",
    `${head}.${raw(JSON.stringify({ ...payload, sub: "root" }))}.${signature}`,
    "signature",
  ],
  [
    "another header",
    `${raw(JSON.stringify({ alg: "ES256", kid: "k1", x: 1 }))}.${body}.${signature}`,
    "signature",
  ],
  ["half a signature", `${head}.${body}.${signature.slice(0, 43)}`, ""],
  ["a signature of zeros", `${head}.${body}.${"A".repeat(86)}`, "signature"],
  ["no signature", `${head}.${body}.`, "form"],
  ["two parts", `${head}.${body}`, "form"],
  ["four parts", `${good}.AAAA`, "form"],
  ["five parts, as if encrypted", `${good}.AAAA.AAAA`, "form"],
  ["one part", "abc", "form"],
  ["base64 that is not of URLs", `${head}.${body}.${"+/".repeat(43)}`, "form"],
  ["padding", `${head}=.${body}.${signature}`, "form"],
  ["blanks within", `${head}. ${body}.${signature}`, "form"],
  ["a header that is not JSON", `${raw("{")}.${body}.${signature}`, "header"],
  ["a header that is a list", `${raw("[]")}.${body}.${signature}`, "header"],
  [
    "a header that is not UTF-8",
    `${Buffer.from([0x7b, 0xff, 0x7d]).toString("base64url")}.${body}.${signature}`,
    "header",
  ],
  ["a payload that is a text", `${head}.${raw('"x"')}.${signature}`, "payload"],
  ["a payload that is null", `${head}.${raw("null")}.${signature}`, "payload"],
  [
    "a payload that nests deeply",
    `${head}.${raw("[".repeat(4000))}.${signature}`,
    "payload",
  ],
  ["a huge one", claims({ pad: "x".repeat(13_000) }), "longer"],
];

void t.test("each is refused, and says why", async (t) => {
  const rules = [{ issuer: ISSUER, jwks: KEYS }];
  await withPair({ resources: [tokensOf(rules)] }, async (pair) => {
    const becomes = async (text: string): Promise<readonly string[]> => {
      const row = {
        what: "",
        becomes: "",
        headers: { authorization: `Bearer ${text}` },
      };
      const got = await outcomeOf(pair, row);
      return [got.becomes, got.challenge ?? ""];
    };
    for (const [what, made] of GOOD)
      t.equal((await becomes(await made))[0], "200", `good: ${what}`);
    for (const [what, made, why] of BAD) {
      const [outcome, challenge = ""] = await becomes(await made);
      t.equal(outcome, "401 TOKEN_INVALID", what);
      t.ok(challenge.includes(why), `${what}: ${challenge}`);
    }
    for (const [what, made] of GOOD)
      t.equal((await becomes(await made))[0], "200", `still good: ${what}`);
  });
});

void t.test("a weak key verifies nothing", async (t) => {
  const { publicKey, privateKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  );
  const jwk = await crypto.subtle.exportKey("jwk", publicKey);
  const text = `${raw('{"alg":"RS256"}')}.${raw(JSON.stringify(payload))}`;
  const made = await crypto.subtle.sign(
    "RSASSA-PKCS1-v1_5",
    privateKey,
    Buffer.from(text),
  );
  const jwks = JSON.stringify({ keys: [{ kty: "RSA", n: jwk.n, e: jwk.e }] });
  await withPair(
    { resources: [tokensOf([{ issuer: ISSUER, jwks }])] },
    async (pair) => {
      const weak = `${text}.${Buffer.from(made).toString("base64url")}`;
      const answer = await pair.call({
        headers: { authorization: `Bearer ${weak}` },
      });
      t.equal(answer.reason, "TOKEN_INVALID; policy=shop/jwt");
    },
  );
});
