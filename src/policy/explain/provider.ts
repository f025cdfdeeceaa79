/** Which providers of authorization would be asked about a request: explain does not ask them. */
import type { SpiffeUri } from "../../core/units.ts";
import type { VerifiedClaims } from "../../identity/jwt/claims.ts";
import type {
  AuthorizedConnection,
  AuthorizedRequest,
} from "../authorization/call.ts";
import { unaskable, type CustomMatch } from "../authorization/custom.ts";
import type { InboundPort, Snapshot } from "../snapshot.ts";
import { decision, sourceOf, type Decision, type Source } from "./decision.ts";

interface ProviderQuestion {
  readonly snapshot: Snapshot;
  readonly peer: SpiffeUri | undefined;
  readonly connection: AuthorizedConnection;
}

/** Which providers would be asked; undefined where no policy asks one. They are not asked here. */
export function providerDecision(
  { snapshot, peer, connection }: ProviderQuestion,
  port: InboundPort,
  request: AuthorizedRequest | undefined,
  claims: VerifiedClaims | undefined,
): Decision | undefined {
  if (port.custom === undefined) return undefined;
  const facts = { peer, port: port.targetPort, connection, request, claims };
  const asks = port.custom.matches(facts);
  const sourceOfRule = ({ policy, rule }: CustomMatch): Source =>
    sourceOf("AuthorizationPolicy", policy, `spec.rules[${rule}]`);
  const [first] = asks;
  const refused = asks.flatMap(({ provider, policy }) => {
    const why = unaskable(snapshot, provider, request === undefined);
    return why === undefined ? [] : [{ why, policy }];
  })[0];
  return decision(
    "callee",
    "provider",
    refused !== undefined
      ? refused.why
      : first === undefined
        ? "no provider is asked"
        : `asked, and what follows holds if it allows the request: ${asks.map(({ provider, policy, rule }) => `provider ${provider} by rule ${rule} of CUSTOM ${policy}`).join(", then ")}`,
    {
      source: first && sourceOfRule(first),
      notMatched: port.custom
        .explain(facts)
        .flatMap((each) =>
          each.why === undefined
            ? []
            : [{ source: sourceOfRule(each), why: each.why }],
        ),
      ...(refused === undefined
        ? {}
        : { refusal: { code: "PROVIDER_FAILED", policy: refused.policy } }),
    },
  );
}
