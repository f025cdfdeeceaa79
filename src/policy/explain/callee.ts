/** The callee's side of a request, decision by decision, by the functions that `proxy/inbound.ts` asks and in its order. */
import type { SpiffeUri } from "../../core/units.ts";
import type {
  AuthorizationTrace,
  ConsideredRule,
} from "../authorization/authorization.ts";
import { explainProviders } from "./provider.ts";
import type {
  AuthorizedConnection,
  AuthorizedRequest,
} from "../authorization/call.ts";
import type { ShadowFinding } from "../authorization/shadow.ts";
import type { ClaimSet, VerifiedClaims } from "../../identity/jwt/claims.ts";
import { readRequest, type ReadRequest } from "../path.ts";
import type { InboundPort, Snapshot } from "../snapshot.ts";
import {
  decision,
  sourceOf,
  valueAt,
  type Decision,
  type Lookup,
  type NotMatched,
  type Refusal,
  type SentRequest,
  type Source,
} from "./decision.ts";
import { limitsDecision } from "./limits.ts";
import { explainTokens } from "./tokens.ts";

export interface CalleeQuestion {
  readonly snapshot: Snapshot;
  readonly find: Lookup;
  /** How it comes in: over the link to a port of a Service, or in plaintext to a port of the application. */
  readonly arrival:
    | { readonly kind: "link"; readonly destination: string }
    | { readonly kind: "plaintext"; readonly port: number };
  /** SPIFFE id of the caller; undefined in plaintext. */
  readonly peer: SpiffeUri | undefined;
  readonly connection: AuthorizedConnection;
  readonly sent: SentRequest;
  readonly tunnel: boolean;
  /** Claims of a token that the request is taken to have; absent: what it has is looked at. */
  readonly claims?: ClaimSet | undefined;
}

export interface CalleeAnswer {
  readonly decisions: readonly Decision[];
  readonly refusal: Refusal | undefined;
  /** "NAMESPACE/NAME" of the policy that allowed. */
  readonly allowedBy: string | undefined;
  /** What policies would do that change no verdict. */
  readonly shadow: readonly ShadowFinding[];
  /** What the application gets, as this side normalised it. */
  readonly target: string;
  readonly fields: SentRequest["fields"];
}

export function explainCallee(question: CalleeQuestion): CalleeAnswer {
  const { port, decision: arrived } = portDecision(question);
  if (port === undefined) return ends([arrived]);
  const decisions = [arrived, mtlsDecision(question, port)];
  if (decisions.some(({ refusal }) => refusal !== undefined))
    return ends(decisions);
  if (question.tunnel && !port.takesBytes)
    return ends([
      ...decisions,
      decision(
        "callee",
        "port",
        `port ${port.targetPort} is declared for HTTP, and takes requests alone`,
        { refusal: { code: "TUNNEL_REFUSED" } },
      ),
    ]);
  const first = readSent(question, question.sent);
  if (first?.ok === false)
    return ends([
      ...decisions,
      decision("callee", "authorization", first.detail, {
        refusal: { code: "BAD_REQUEST" },
      }),
    ]);
  const tokens =
    port.tokens === undefined || question.tunnel
      ? undefined
      : explainTokens(port.tokens, question.sent, question.claims);
  if (tokens !== undefined) decisions.push(tokens.decision);
  if (tokens?.decision.refusal !== undefined) return ends(decisions);
  const claimed = tokens?.sent ?? question.sent;
  const read = readAgain(question, question.sent, first, claimed);
  const { decision: asked, sent = claimed } =
    explainProviders(question, port, claimed, read?.facts, tokens?.token) ?? {};
  if (asked !== undefined) decisions.push(asked);
  if (asked?.refusal !== undefined) return ends(decisions);
  const last = readAgain(question, claimed, read, sent);
  const { allowedBy, shadow, ...authorized } = authorization(
    question,
    port,
    last?.facts,
    tokens?.token?.claims,
  );
  decisions.push(authorized.decision);
  if (authorized.decision.refusal !== undefined)
    return { ...ends(decisions), shadow };
  const limited = limitsDecision(port, last?.facts);
  return {
    decisions: limited === undefined ? decisions : [...decisions, limited],
    refusal: undefined,
    allowedBy,
    shadow,
    target: last?.target ?? sent.target,
    fields: sent.fields,
  };
}

/** Undefined for a tunnel, which has nothing to read. */
function readSent(
  { tunnel, snapshot }: CalleeQuestion,
  sent: SentRequest,
): ReadRequest | undefined {
  return tunnel
    ? undefined
    : readRequest(
        { ...sent, scheme: "http", path: sent.target },
        snapshot.mesh.pathNormalization,
      );
}

/** `read`: what `before` was read as. */
function readAgain(
  question: CalleeQuestion,
  before: SentRequest,
  read: ReadRequest | undefined,
  sent: SentRequest,
): Extract<ReadRequest, { ok: true }> | undefined {
  const again = sent === before ? read : readSent(question, sent);
  return again?.ok === true ? again : undefined;
}

/** The declared port that the request arrived at; undefined where there is none. */
function portDecision({
  snapshot: { inbound, self },
  arrival,
}: CalleeQuestion): {
  readonly port: InboundPort | undefined;
  readonly decision: Decision;
} {
  const [port, asked] =
    arrival.kind === "link"
      ? [inbound.resolve(arrival.destination), arrival.destination]
      : [inbound.byPort(arrival.port), `port ${arrival.port}`];
  const workload = `${self.namespace}/${self.name}`;
  return {
    port,
    decision:
      port === undefined
        ? decision(
            "callee",
            "port",
            `${asked} is not a declared port of ${workload}`,
            { refusal: { code: "MISDIRECTED" } },
          )
        : decision(
            "callee",
            "port",
            `${asked} is port ${port.targetPort} of ${workload}`,
          ),
  };
}

function ends(decisions: readonly Decision[]): CalleeAnswer {
  return {
    decisions,
    refusal: decisions.at(-1)?.refusal,
    allowedBy: undefined,
    shadow: [],
    target: "",
    fields: [],
  };
}

function mtlsDecision(
  { peer, find }: CalleeQuestion,
  port: InboundPort,
): Decision {
  const { mode, policy } = port.mtls;
  const stated = valueAt(find("Mesh/default"), "mtls", "mode");
  const source =
    policy !== undefined
      ? sourceOf("PeerAuthentication", policy)
      : stated === undefined
        ? undefined
        : sourceOf("Mesh", "default", "spec.mtls.mode");
  const refused = peer === undefined && mode === "STRICT";
  return decision(
    "callee",
    "mTLS",
    `${mode}${source === undefined ? " (the default)" : ""}: ${
      peer === undefined
        ? `the call is in plaintext${refused ? ", and the port takes mesh mTLS only" : ""}`
        : `the call is from ${peer}`
    }`,
    {
      source,
      notMatched: port.passedOver().map(({ policy: name, why }) => ({
        source: sourceOf("PeerAuthentication", name),
        why,
      })),
      ...(refused
        ? {
            refusal: {
              code: "MTLS_REQUIRED",
              ...(policy === undefined ? {} : { policy }),
            },
          }
        : {}),
    },
  );
}

function authorization(
  question: CalleeQuestion,
  port: InboundPort,
  request: AuthorizedRequest | undefined,
  claims: VerifiedClaims | undefined,
): Authorized {
  const { peer, connection } = question;
  const facts = { peer, port: port.targetPort, connection, request, claims };
  const trace = port.explain(facts);
  const shadow = port.shadow?.judge(facts, trace.verdict) ?? [];
  const { decision, allowedBy } = authorized(question, trace);
  const details = [...decision.details, ...shadow.map(shadowText)];
  return { decision: { ...decision, details }, allowedBy, shadow };
}

interface Authorized {
  readonly decision: Decision;
  readonly allowedBy: string | undefined;
  readonly shadow: readonly ShadowFinding[];
}

function authorized(
  { find, peer }: CalleeQuestion,
  { verdict, considered, passedOver }: AuthorizationTrace,
): Omit<Authorized, "shadow"> {
  const matched = considered.find(({ why }) => why === undefined);
  const notMatched = rulesNotMatched(considered, passedOver);
  const made = (
    outcome: string,
    source: Source | undefined,
    refusal?: Refusal,
  ): Decision =>
    decision("callee", "authorization", outcome, {
      source,
      notMatched,
      ...(refusal === undefined ? {} : { refusal }),
    });
  const caller = peer ?? "a caller without identity";
  if (verdict.kind === "allow")
    return matched === undefined
      ? {
          decision: made(
            "allowed: no policy forbids it, and the Mesh allows what none speaks of",
            meshAction(find),
          ),
          allowedBy: undefined,
        }
      : {
          decision: made(
            `allowed: ${ruleText(matched)} takes it`,
            authorizationSource(matched),
          ),
          allowedBy: matched.policy,
        };
  const { code, policy } = verdict;
  const refusal = { code, policy };
  if (matched !== undefined)
    return {
      decision: made(
        `${ruleText(matched)} takes it`,
        authorizationSource(matched),
        refusal,
      ),
      allowedBy: undefined,
    };
  const listed = considered.some(({ action }) => action === "ALLOW");
  return {
    decision: made(
      listed
        ? `ALLOW policies act on the workload, and none of their rules takes ${caller}`
        : `no policy allows it, and the Mesh denies what none speaks of`,
      listed ? sourceOf("AuthorizationPolicy", policy) : meshAction(find),
      refusal,
    ),
    allowedBy: undefined,
  };
}

/** What a policy would do that changes no verdict. */
export function shadowText({ policy, effect, rule }: ShadowFinding): string {
  const by = rule === undefined ? policy : `rule ${rule} of ${policy}`;
  switch (effect) {
    case "refused":
      return rule === undefined
        ? `dry run: no rule of ${policy} takes it, which would refuse it`
        : `dry run: ${by} would refuse it`;
    case "admitted":
      return `dry run: ${by} would allow it`;
    case "matched":
      return `audit: ${by} matches it`;
  }
}

function rulesNotMatched(
  considered: readonly ConsideredRule[],
  passedOver: AuthorizationTrace["passedOver"],
): readonly NotMatched[] {
  return [
    ...considered.flatMap((each) =>
      each.why === undefined
        ? []
        : [{ source: authorizationSource(each), why: each.why }],
    ),
    ...passedOver.map(({ policy, why }) => ({
      source: sourceOf("AuthorizationPolicy", policy),
      why,
    })),
  ];
}

function meshAction(find: Lookup): Source | undefined {
  return find("Mesh/default") === undefined
    ? undefined
    : sourceOf("Mesh", "default", "spec.authorization.defaultAction");
}

function ruleText({ policy, action, rule }: ConsideredRule): string {
  return `rule ${rule ?? 0} of ${action} ${policy}`;
}

function authorizationSource({ policy, rule }: ConsideredRule): Source {
  return sourceOf(
    "AuthorizationPolicy",
    policy,
    rule === undefined ? "spec" : `spec.rules[${rule}]`,
  );
}
