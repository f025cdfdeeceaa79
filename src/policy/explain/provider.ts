/** Which providers of authorization would be asked about a request, and which headers only they may write: explain does not ask them. */
import type { AuthorizationFacts } from "../authorization/call.ts";
import {
  unaskable,
  type CustomMatch,
  type CustomRule,
} from "../authorization/custom.ts";
import { listed, reserved } from "../authorization/provider-headers.ts";
import type { NotGiven } from "../authorization/tests.ts";
import { applyEdits } from "../routing/header-edits.ts";
import type { InboundPort, Snapshot } from "../snapshot.ts";
import type { VerifiedToken } from "../tokens/token-edits.ts";
import {
  decision,
  notMatched,
  sourceOf,
  type Decision,
  type Dependence,
  type SentRequest,
  type Source,
} from "./decision.ts";

interface ProviderQuestion {
  readonly snapshot: Snapshot;
  /** The request of a call that is bytes is undefined. */
  readonly facts: AuthorizationFacts;
  readonly notGiven: NotGiven;
  readonly token: VerifiedToken | undefined;
}

export interface ExplainedProviders {
  readonly decision: Decision;
  /** Without what only providers may say. What they would say is not known here. */
  readonly sent: SentRequest;
  readonly dependsOn: readonly Dependence[];
}

/** Undefined where no policy asks a provider. */
export function explainProviders(
  question: ProviderQuestion,
  port: InboundPort,
  sent: SentRequest,
): ExplainedProviders | undefined {
  if (port.custom === undefined) return undefined;
  const { facts, notGiven, snapshot, token } = question;
  const removed =
    facts.request === undefined
      ? []
      : removals(snapshot, port.custom.providers, sent, token);
  const remove = new Set(removed.flatMap(({ names }) => [...names]));
  const rules = port.custom.explain(facts, notGiven);
  return {
    dependsOn: openRules(question, rules),
    decision: {
      ...providerDecision(question, rules),
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

/** Rules of which it is not known whether they ask, of providers that are not asked in any case. */
function openRules(
  { snapshot, facts }: ProviderQuestion,
  rules: readonly CustomRule[],
): readonly Dependence[] {
  const asked = new Set(asking(rules).map(({ provider }) => provider));
  return rules.flatMap(({ provider, policy, rule, dependsOn: on }) =>
    on === undefined || asked.has(provider)
      ? []
      : [
          {
            ...{ policy, rule, on },
            action: "CUSTOM" as const,
            changes:
              unaskable(snapshot, provider, facts.request === undefined) ===
              undefined
                ? ("provider" as const)
                : ("allowed" as const),
          },
        ],
  );
}

/** One rule a provider, as the sidecar asks. */
function asking(rules: readonly CustomRule[]): readonly CustomMatch[] {
  const first = new Map<string, CustomMatch>();
  for (const each of rules)
    if (each.why === undefined && !first.has(each.provider))
      first.set(each.provider, each);
  return [...first.values()];
}

/** They are not asked here. */
function providerDecision(
  { snapshot, facts }: ProviderQuestion,
  rules: readonly CustomRule[],
): Decision {
  const asks = asking(rules);
  const sourceOfRule = ({ policy, rule }: CustomMatch): Source =>
    sourceOf("AuthorizationPolicy", policy, `spec.rules[${rule}]`);
  const [first] = asks;
  const refused = asks.flatMap(({ provider, policy }) => {
    const why = unaskable(snapshot, provider, facts.request === undefined);
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
      notMatched: rules.flatMap((each) =>
        each.why === undefined
          ? []
          : [notMatched(sourceOfRule(each), each.why, each.dependsOn)],
      ),
      ...(refused === undefined
        ? {}
        : { refusal: { code: "PROVIDER_FAILED", policy: refused.policy } }),
    },
  );
}
