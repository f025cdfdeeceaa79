/** Which providers of authorization would be asked about a request, and which headers only they may write: explain does not ask them. */
import type { SpiffeUri } from "../../core/units.ts";
import type {
  AuthorizedConnection,
  AuthorizedRequest,
} from "../authorization/call.ts";
import {
  unaskable,
  type CustomAuthorizer,
  type CustomMatch,
} from "../authorization/custom.ts";
import { listed, reserved } from "../authorization/provider-headers.ts";
import { applyEdits } from "../routing/header-edits.ts";
import type { InboundPort, Snapshot } from "../snapshot.ts";
import type { VerifiedToken } from "../tokens/token-edits.ts";
import {
  decision,
  sourceOf,
  type Decision,
  type SentRequest,
  type Source,
} from "./decision.ts";

interface ProviderQuestion {
  readonly snapshot: Snapshot;
  readonly peer: SpiffeUri | undefined;
  readonly connection: AuthorizedConnection;
}

export interface ExplainedProviders {
  readonly decision: Decision;
  /** Without what only providers may say. What they would say is not known here. */
  readonly sent: SentRequest;
}

/** Undefined where no policy asks a provider. `request` undefined: a call that is bytes. */
export function explainProviders(
  question: ProviderQuestion,
  port: InboundPort,
  sent: SentRequest,
  request: AuthorizedRequest | undefined,
  token: VerifiedToken | undefined,
): ExplainedProviders | undefined {
  if (port.custom === undefined) return undefined;
  const removed =
    request === undefined
      ? []
      : removals(question.snapshot, port.custom.providers, sent, token);
  const remove = new Set(removed.flatMap(({ names }) => [...names]));
  return {
    decision: {
      ...providerDecision(question, port, port.custom, request, token),
      details: removed.map(
        ({ provider, names }) =>
          `removed from what the caller sent, for only provider ${provider} may write it: ${[...names].join(", ")}`,
      ),
    },
    sent:
      remove.size === 0
        ? sent
        : {
            ...sent,
            fields: applyEdits(
              sent.fields,
              { set: [], add: [], remove },
              (name, value) => ({ name, value }),
            ),
          },
  };
}

interface Removal {
  readonly provider: string;
  readonly names: ReadonlySet<string>;
}

function removals(
  { mesh }: Snapshot,
  providers: readonly string[],
  { fields }: SentRequest,
  token: VerifiedToken | undefined,
): readonly Removal[] {
  const written = new Set(token?.outputs.map(({ name }) => name));
  return mesh.authorization.providers
    .filter(({ name }) => providers.includes(name))
    .map(({ name: provider, headersToApplication }) => ({
      provider,
      names: reserved(fields, listed(headersToApplication), (name) =>
        written.has(name),
      ),
    }))
    .filter(({ names }) => names.size > 0);
}

/** They are not asked here. */
function providerDecision(
  { snapshot, peer, connection }: ProviderQuestion,
  { targetPort }: InboundPort,
  custom: CustomAuthorizer,
  request: AuthorizedRequest | undefined,
  token: VerifiedToken | undefined,
): Decision {
  const facts = {
    ...{ peer, port: targetPort, connection, request },
    claims: token?.claims,
  };
  const asks = custom.matches(facts);
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
      notMatched: custom
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
