/** Rules for tokens, providers and Revocations drawn at random, and the claims of tokens that some of the rules accept. */
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource } from "../meshes/pair.ts";
import { dice, type Draw } from "./dice.ts";

const ISSUERS = ["https://a.example", "https://b.example"];
const SUBJECTS = ["alice", "bob"];
const AUDIENCES = ["shop", "bank"];
const GROUPS = ["dev", "ops"];
/** Nobody answers to the last name: what it is asked about is refused. */
export const ASKED: readonly string[] = ["opa", "opa", "opa", "nobody"];

/** Of tokens that nobody has. */
export const PUBLIC_KEYS: string = JSON.stringify({
  keys: [
    {
      ...{ kty: "EC", crv: "P-256", kid: "k1", alg: "ES256", use: "sig" },
      x: "o1Ds-JHYWJrc4R1fwKQrEccgDfrhEuR01aWoVoDSTmg",
      y: "H_EwPPIG988iHD3aoSC9ztV12XgR5bj-a3ll43tRn30",
    },
  ],
});

/** For the Mesh. What only the provider may write, rules and routes read. */
export function randomProviders(draw: Draw): readonly object[] {
  const { chance, pick } = dice(draw);
  return [
    {
      ...{ name: ASKED[0], http: { address: "127.0.0.1:9" } },
      ...(chance(0.5)
        ? { headersToApplication: [pick(["x-user", "x-*", "x_env"])] }
        : {}),
    },
  ];
}

export function requestAuthentication(
  draw: Draw,
  index: number,
  keys: string,
): Resource {
  const { chance, pick } = dice(draw);
  const rule = (issuer: string): Record<string, unknown> => ({
    issuer,
    jwks: keys,
    ...(chance(0.4) ? { audiences: [pick(AUDIENCES)] } : {}),
    ...(chance(0.3) ? { forwardOriginalToken: true } : {}),
    ...(chance(0.4)
      ? { outputClaimToHeaders: [{ header: "x-sub", claim: "sub" }] }
      : {}),
    ...(chance(0.2) ? { fromHeaders: [{ name: "x-token" }] } : {}),
  });
  return resource("RequestAuthentication", `tokens-${index}`, {
    selector: { matchLabels: { app: chance(0.85) ? "orders" : "web" } },
    jwtRules: chance(0.5) ? ISSUERS.map(rule) : [rule(pick(ISSUERS))],
  });
}

/** Of nobody that calls, so that it is known and changes no verdict. */
export function revocation(draw: Draw): Resource {
  const { pick } = dice(draw);
  return resource(
    "Revocation",
    "gone",
    pick<Record<string, unknown>>([
      { identity: "spiffe://cluster.local/ns/far/sa/gone" },
      { instance: "shop/gone-1" },
      { serial: "0a1b" },
    ]),
  );
}

type List = <T>(from: readonly T[]) => T[];

/** By whom the token is. */
export function tokenSource(draw: Draw, list: List): Record<string, unknown> {
  return {
    [dice(draw).pick(["requestPrincipals", "notRequestPrincipals"])]: list([
      ...["*", "*/alice", `${ISSUERS[0] ?? ""}/*`],
      `${ISSUERS[1] ?? ""}/bob`,
    ]),
  };
}

/** Keys of conditions, and values for each. */
export const tokenConditions: readonly (readonly [
  string,
  readonly string[],
])[] = [
  ["request.auth.principal", ["*", "*/alice", "*/bob"]],
  ["request.auth.audiences", AUDIENCES],
  ["request.auth.claims[groups]", [...GROUPS, "*"]],
];

/** Of one of the issuers, or of one that no rule has. */
export function randomClaims(draw: Draw): Record<string, unknown> {
  const { chance, pick, some } = dice(draw);
  return {
    iss: chance(0.9) ? pick(ISSUERS) : "https://c.example",
    sub: chance(0.9) ? pick(SUBJECTS) : undefined,
    ...(chance(0.7) ? { aud: pick(AUDIENCES) } : {}),
    ...(chance(0.6) ? { groups: some(2, () => pick(GROUPS)) } : {}),
  };
}
