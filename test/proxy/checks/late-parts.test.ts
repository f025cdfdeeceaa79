/** What a check loads late may be gone, where another version took the package's place: the request is refused with a reason, and the process serves. */
import { registerHooks } from "node:module";
import t from "tap";
import { allow, withGrpc, withHttp } from "../../support/checks/asking-pair.ts";
import { withPair, type Pair } from "../../support/meshes/pair.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../support/tokens/issuer.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

/** A promise that nobody catches would end this process, and the test with it. */
const gone = new Set<string>();

registerHooks({
  resolve(specifier, context, next) {
    if (![...gone].some((part) => specifier.endsWith(part)))
      return next(specifier, context);
    throw Object.assign(new Error(`Cannot find module '${specifier}'`), {
      code: "ERR_MODULE_NOT_FOUND",
    });
  },
});

const RESTART = /start the process again/;

async function judge(
  t: Tap,
  pair: Pair,
  part: string,
  refusal: RegExp,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const refused = await pair.call({ headers });
  t.match(refused.reason, refusal, part);
  t.match(refused.text, RESTART, part);
  gone.clear();
  t.equal((await pair.call({ headers })).status, 200, `${part} is there again`);
}

type Tap = Pick<typeof t, "equal" | "match">;

void t.test("a provider of authorization that speaks gRPC", async (t) => {
  gone.add("runtime/grpc.ts");
  await withGrpc(
    () => ({ status: { code: 0 }, ok_response: {} }),
    {},
    (pair) => judge(t, pair, "gRPC", /^PROVIDER_FAILED/),
  );
});

void t.test("a provider of authorization that speaks HTTP", async (t) => {
  gone.add("runtime/undici.ts");
  await withHttp(allow, {}, (pair) =>
    judge(t, pair, "undici", /^PROVIDER_FAILED/),
  );
});

void t.test("tokens", async (t) => {
  const key = await testKey("ES256", "k1");
  const bearer = `Bearer ${await token(key, { claims: { sub: "carol", aud: "shop" } })}`;
  gone.add("jose");
  await withPair(
    { resources: [tokensOf([{ issuer: ISSUER, jwks: keySetText(key) }])] },
    (pair) =>
      judge(t, pair, "jose", /^TOKEN_KEYS_UNAVAILABLE/, {
        authorization: bearer,
      }),
  );
});
