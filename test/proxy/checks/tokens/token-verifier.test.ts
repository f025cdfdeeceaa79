/** Whose keys the verifier of tokens holds: those of the config in force, and no others for longer than one token needs them. */
import { createServer } from "node:http";
import pino from "pino";
import t from "tap";
import { findTokens } from "../../../../src/policy/tokens/find-tokens.ts";
import {
  compileTokenRules,
  type TokenRules,
} from "../../../../src/policy/tokens/token-rules.ts";
import {
  TokenVerifier,
  type TokenResult,
} from "../../../../src/proxy/checks/tokens/token-verifier.ts";
import type { RequestAuthenticationResource } from "../../../../src/resources/request-authentication/spec.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { listening } from "../../../support/meshes/pair.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../../support/tokens/issuer.ts";
import { tokensOf } from "../../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const good = await token(key);

function rulesOf(keys: object): TokenRules {
  const rules = compileTokenRules(
    [tokensOf([{ issuer: ISSUER, ...keys }]) as RequestAuthenticationResource],
    { namespace: "shop", labels: { app: "orders" } },
  );
  if (rules === undefined) throw new Error("there are no rules");
  return rules;
}

void t.test(
  "a rule of an earlier config is judged by, and its issuer not kept",
  async (t) => {
    let fetched = 0;
    const server = createServer((_request, response) => {
      fetched += 1;
      response.end(keySetText(key));
    });
    const address = `http://127.0.0.1:${await listening(server)}/keys`;
    const clock = fakeClock();
    const logger = pino({ level: "silent" });
    const verifier = new TokenVerifier({ clock, logger });
    const apply = (...tokens: readonly TokenRules[]): void =>
      verifier.apply({
        mesh: { privateFetch: { hosts: ["127.0.0.1"], ranges: [] } },
        inbound: { ports: tokens.map((each) => ({ tokens: each })) },
      });
    const verify = async (rules: TokenRules): Promise<TokenResult["ok"]> => {
      const [found] = findTokens(rules, {
        path: "/",
        fields: [{ name: "authorization", value: `Bearer ${good}` }],
      });
      if (found === undefined) throw new Error("there is no token");
      const { ok } = await verifier.verify(found);
      t.equal(
        verifier.known(found) !== undefined,
        clock.pending === 1,
        "it is known as long as its issuer is kept",
      );
      return ok;
    };
    const rules = rulesOf({ jwksUri: address });
    try {
      apply(rules);
      t.ok(await verify(rules));
      t.equal(clock.pending, 1, "its keys are fetched again later");
      apply();
      t.equal(clock.pending, 0);
      t.equal(fetched, 1);
      t.ok(await verify(rules), "by keys of its own");
      t.equal(fetched, 2);
      t.equal(clock.pending, 0, "nobody would end what is begun for it");
      t.ok(await verify(rulesOf({ jwks: keySetText(key) })), "given ones too");
    } finally {
      verifier.close();
      server.closeAllConnections();
      server.close();
    }
  },
);
