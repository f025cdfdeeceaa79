/** The callee's side of a request, decision by decision, by the functions that `proxy/inbound.ts` asks and in its order. */
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import type {
  AuthorizationFacts,
  AuthorizedRequest,
} from "../authorization/call.ts";
import type { ShadowFinding } from "../authorization/shadow.ts";
import type { NotGiven } from "../authorization/tests.ts";
import type { ClaimSet, VerifiedClaims } from "../../identity/jwt/claims.ts";
import { ambiguityOf } from "../../mesh/header-readings.ts";
import { readRequest, type ReadRequest } from "../path.ts";
import type { InboundPort, Snapshot } from "../snapshot.ts";
import { explainAuthorization } from "./authorization-step.ts";
import {
  decision,
  sourceOf,
  valueAt,
  type Decision,
  type Dependence,
  type Lookup,
  type Refusal,
  type SentRequest,
} from "./decision.ts";
import { limitsDecision } from "./limits.ts";
import { connectionOf, notGivenOf, type AskedConnection } from "./not-given.ts";
import { explainProviders } from "./provider.ts";
import { explainTokens, type ExplainedToken } from "./tokens.ts";

export interface CalleeQuestion {
  readonly snapshot: Snapshot;
  readonly find: Lookup;
  /** How it comes in: over the link to a port of a Service, or in plaintext to a port of the application. */
  readonly arrival:
    | { readonly kind: "link"; readonly destination: string }
    | { readonly kind: "plaintext"; readonly port: number };
  /** SPIFFE id of the caller; undefined in plaintext. */
  readonly peer: SpiffeUri | undefined;
  readonly connection: AskedConnection;
  readonly sent: SentRequest;
  readonly tunnel: boolean;
  /** Claims of a token that the request is taken to have; absent: what it has is looked at. */
  readonly claims?: ClaimSet | undefined;
  /** Wall milliseconds, by which tokens have begun and ended. */
  readonly wall: WallMs;
}

export interface CalleeAnswer {
  readonly decisions: readonly Decision[];
  readonly refusal: Refusal | undefined;
  /** "NAMESPACE/NAME" of the policy that allowed. */
  readonly allowedBy: string | undefined;
  /** What policies would do that change no verdict. */
  readonly shadow: readonly ShadowFinding[];
  /** Rules that may match, too: the question does not say what they read. */
  readonly dependsOn: readonly Dependence[];
  /** What the application gets, as this side normalised it. */
  readonly target: string;
  readonly fields: SentRequest["fields"];
}

export function explainCallee(asked: CalleeQuestion): CalleeAnswer {
  const { port, decision: arrived } = portDecision(asked);
  if (port === undefined) return ends([arrived]);
  const decisions = [arrived, mtlsDecision(asked, port)];
  if (decisions.some(({ refusal }) => refusal !== undefined))
    return ends(decisions);
  const question = asArrived(asked, port);
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
    return ends([...decisions, badRequest(first.detail)]);
  const { tokens, unread } = tokenStep(question, port);
  decisions.push(...(tokens === undefined ? unread : [tokens.decision]));
  if (tokens?.decision.refusal !== undefined) return ends(decisions);
  const claimed = tokens?.sent ?? question.sent;
  const read = readAgain(question, question.sent, first, claimed);
  const known = (request: AuthorizedRequest | undefined): Known =>
    knownOf(question, port, request, tokens?.token?.claims);
  const providers = explainProviders(
    { ...question, ...known(read?.facts), token: tokens?.token },
    port,
    claimed,
  );
  const { sent = claimed, dependsOn: asking = [] } = providers ?? {};
  if (providers !== undefined) decisions.push(providers.decision);
  if (providers?.decision.refusal !== undefined) return ends(decisions);
  const last = readAgain(question, claimed, read, sent);
  const unclear =
    last && port.readHeaders && ambiguityOf(port.readHeaders, sent.fields);
  if (unclear !== undefined) return ends([...decisions, badRequest(unclear)]);
  const { facts, notGiven } = known(last?.facts);
  const { allowedBy, shadow, ...authorized } = explainAuthorization(
    question.find,
    port,
    facts,
    notGiven,
    question.connection,
  );
  decisions.push(authorized.decision);
  const dependsOn = [...asking, ...authorized.dependsOn];
  if (authorized.decision.refusal !== undefined)
    return { ...ends(decisions), shadow, dependsOn };
  const limited = limitsDecision(port, last?.facts);
  return {
    decisions: limited === undefined ? decisions : [...decisions, limited],
    refusal: undefined,
    allowedBy,
    shadow,
    dependsOn,
    target: last?.target ?? sent.target,
    fields: sent.fields,
  };
}

function badRequest(why: string): Decision {
  return decision("callee", "authorization", why, {
    refusal: { code: "BAD_REQUEST" },
  });
}

/** In plaintext nothing is read as HTTP on a port for bytes, whatever the caller speaks. */
function asArrived(
  question: CalleeQuestion,
  { takesBytes }: InboundPort,
): CalleeQuestion {
  const tunnel =
    question.tunnel || (question.arrival.kind === "plaintext" && takesBytes);
  return tunnel === question.tunnel ? question : { ...question, tunnel };
}

/** `unread`: what is said of claims that nothing reads. */
function tokenStep(
  { sent, claims, tunnel, wall }: CalleeQuestion,
  { tokens }: InboundPort,
): {
  readonly tokens: ExplainedToken | undefined;
  readonly unread: readonly Decision[];
} {
  if (tokens !== undefined && !tunnel)
    return { tokens: explainTokens(tokens, sent, claims, wall), unread: [] };
  const why = tunnel
    ? "bytes have no token: the claims that were given are not read"
    : "no RequestAuthentication acts here: the claims that were given are not read";
  return {
    tokens: undefined,
    unread: claims === undefined ? [] : [decision("callee", "token", why)],
  };
}

/** What policy knows of the call, and what a real one would have besides. */
interface Known {
  readonly facts: AuthorizationFacts;
  readonly notGiven: NotGiven;
}

function knownOf(
  { peer, connection, arrival, snapshot }: CalleeQuestion,
  port: InboundPort,
  request: AuthorizedRequest | undefined,
  claims: VerifiedClaims | undefined,
): Known {
  const plaintext = arrival.kind === "plaintext";
  const facts = {
    ...{ peer, port: port.targetPort, request, claims },
    connection: connectionOf(connection, plaintext, port),
  };
  const { trustedHops } = snapshot.mesh;
  return { facts, notGiven: notGivenOf(facts, connection, port, trustedHops) };
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
    dependsOn: [],
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
