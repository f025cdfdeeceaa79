/** The caller's side of a request, decision by decision, by the functions that `proxy/plan-route.ts` asks and in its order. */
import { formatHostPort } from "../../core/text/host-port.ts";
import type { WallMs } from "../../core/units.ts";
import type { MeshError } from "../../mesh/errors.ts";
import type { Injection } from "../fault.ts";
import { isOpaque } from "../compile/clusters.ts";
import { localAnswer } from "../compile/local-response.ts";
import { corsEdits } from "../routing/cors.ts";
import { editedPairs, inTurn } from "../routing/header-edits.ts";
import {
  readRequest,
  type ReadRequest,
  type RequestHeadLike,
} from "../path.ts";
import type {
  Destination,
  ForwardDecision,
  PreflightDecision,
  RedirectDecision,
  RouteDecision,
  RouteTrace,
  Snapshot,
} from "../snapshot.ts";
import { rewriteTarget } from "../routing/url-rewrite.ts";
import {
  decision,
  sourceOf,
  valueAt,
  type Decision,
  type Lookup,
  type Outcome,
  type SentRequest,
  type Source,
} from "./decision.ts";
import { faultDecision } from "./fault-decision.ts";
import {
  backendDecision,
  destinationDecision,
  drawsOf,
  foundIn,
  invalidBackend,
  routeDecision,
  ruleSource,
  sharesOf,
} from "./route-decisions.ts";
import { ownTimeouts, settingsDecisions } from "./settings.ts";
import { editsText, percent, plural } from "./words.ts";

/** Where the request wants to go; `whereTo` of the proxy gives it. */
export type Where =
  | { readonly kind: "mesh"; readonly destination: Destination }
  | { readonly kind: "outside"; readonly host: string; readonly port: number }
  | { readonly kind: "refused"; readonly error: MeshError };

export interface CallerQuestion {
  readonly snapshot: Snapshot;
  readonly find: Lookup;
  readonly where: Where;
  readonly head: RequestHeadLike;
  /** A CONNECT, or bytes that are not HTTP. */
  readonly tunnel: boolean;
  /** In [0, 1): which share of a split. Undefined: the largest. */
  readonly draw: number | undefined;
  /** Wall milliseconds, for the end of faults. */
  readonly wall: WallMs;
}

export interface CallerAnswer {
  readonly decisions: readonly Decision[];
  readonly outcome: Outcome;
  /** Where it goes on to, with what is sent there; undefined where it ends here. */
  readonly onward:
    | { readonly via: ForwardDecision["cluster"]; sent: SentRequest }
    | undefined;
  /** One a share that may be drawn, to ask again with; the one that was given, if one was. */
  readonly draws: readonly (number | undefined)[];
}

export function explainCaller(question: CallerQuestion): CallerAnswer {
  const { where, snapshot, head } = question;
  if (where.kind === "refused") {
    const { code, message } = where.error;
    const { source, registry } = registryOf(question);
    return refused(
      [],
      decision("caller", "destination", message, {
        ...(code === "UNKNOWN_DESTINATION" ? { source } : {}),
        details: code === "UNKNOWN_DESTINATION" ? [registry] : [],
        refusal: { code },
      }),
      {},
    );
  }
  if (where.kind === "outside") return outside(question, where);
  const { destination } = where;
  const decisions = [destinationDecision(question.find, destination)];
  if (question.tunnel)
    return isOpaque(destination.port)
      ? tunnelled(destination, decisions)
      : refused(
          decisions,
          decision(
            "caller",
            "route",
            `none: ${destination.key} is declared for HTTP, and takes requests alone`,
            { refusal: { code: "TUNNEL_REFUSED" } },
          ),
          {},
        );
  const read = readRequest(head, snapshot.mesh.pathNormalization);
  if (!read.ok)
    return refused(
      decisions,
      decision("caller", "route", read.detail, {
        refusal: { code: "BAD_REQUEST" },
      }),
      {},
    );
  return routed(question, destination, read, decisions);
}

function outside(
  question: CallerQuestion,
  { host, port }: Extract<Where, { kind: "outside" }>,
): CallerAnswer {
  const { source, registry } = registryOf(question);
  return {
    decisions: [
      decision(
        "caller",
        "destination",
        `${formatHostPort(host, port)} is not a service of the mesh: the request passes through`,
        { source, details: [registry] },
      ),
    ],
    outcome: { answeredBy: "outside", allowed: true },
    onward: undefined,
    draws: [undefined],
  };
}

function registryOf({ snapshot, find }: CallerQuestion): {
  readonly source: Source | undefined;
  readonly registry: string;
} {
  const stated = valueAt(find("Mesh/default"), "outboundTrafficPolicy");
  return {
    source:
      stated === undefined
        ? undefined
        : sourceOf("Mesh", "default", "spec.outboundTrafficPolicy"),
    registry: `outboundTrafficPolicy is ${snapshot.mesh.outboundTrafficPolicy}${stated === undefined ? " (the default)" : ""}`,
  };
}

function tunnelled(
  { cluster }: Destination,
  decisions: readonly Decision[],
): CallerAnswer {
  return forwarded(
    [
      ...decisions,
      decision(
        "caller",
        "route",
        "none: what is in a tunnel is not looked into, it goes to the Service's own endpoints",
      ),
    ],
    cluster,
    {
      method: "CONNECT",
      authority: cluster.destination,
      target: "",
      fields: [],
    },
    { shares: { [cluster.destination]: 1 } },
  );
}

function routed(
  question: CallerQuestion,
  destination: Destination,
  read: Extract<ReadRequest, { ok: true }>,
  before: readonly Decision[],
): CallerAnswer {
  const { facts } = read;
  const trace = destination.explain(facts);
  const draws = question.draw === undefined ? drawsOf(trace) : [question.draw];
  const taken = destination.route(facts, draws[0] ?? 0);
  const decisions = [
    ...before,
    routeDecision(question.find, destination, trace, taken),
  ];
  const found = { ...foundIn(taken.rule), shares: sharesOf(trace) };
  return {
    ...decided(question, destination, trace, taken, read, decisions, found),
    draws,
  };
}

function decided(
  question: CallerQuestion,
  destination: Destination,
  trace: RouteTrace,
  taken: RouteDecision,
  read: Extract<ReadRequest, { ok: true }>,
  decisions: readonly Decision[],
  found: Partial<Outcome>,
): CallerAnswer {
  if (taken.kind === "refuse")
    return taken.code === "NO_ROUTE"
      ? endsWith(decisions, "refusal", { ...found, reason: taken.code })
      : refused(decisions, invalidBackend(trace, taken), found);
  return taken.kind === "forward"
    ? filtered(question, destination, trace, taken, read, decisions, found)
    : answered(question, destination, trace, taken, read, decisions, found);
}

function answered(
  { head }: CallerQuestion,
  { cluster }: Destination,
  trace: RouteTrace,
  taken: RedirectDecision | PreflightDecision,
  read: Extract<ReadRequest, { ok: true }>,
  decisions: readonly Decision[],
  found: Partial<Outcome>,
): CallerAnswer {
  const answer = localAnswer(taken, head.authority, read, cluster.port);
  const { status, location, fields, edits } = answer;
  const source = ruleSource(trace, taken.rule, "filters");
  const preflight = taken.kind === "preflight";
  const text = preflight
    ? "CORS: the proxy responds to the preflight"
    : `redirected: ${status} to ${location}`;
  const details = preflight
    ? fields.map(({ name, value }) => `${name}: ${value}`)
    : editsText("answer", edits);
  return endsWith(
    [...decisions, decision("caller", "filters", text, { source, details })],
    preflight ? "preflight" : "redirect",
    {
      ...found,
      status,
      ...(location === undefined ? {} : { location }),
      answerFields: fields,
    },
  );
}

function filtered(
  question: CallerQuestion,
  destination: Destination,
  trace: RouteTrace,
  taken: ForwardDecision,
  read: Extract<ReadRequest, { ok: true }>,
  before: readonly Decision[],
  found: Partial<Outcome>,
): CallerAnswer {
  const { head } = question;
  const { facts } = read;
  const { extras, rule, cluster } = taken;
  const sent = {
    method: head.method,
    authority: extras?.rewrite?.host ?? head.authority,
    target: rewriteTarget(extras?.rewrite?.path, facts.path, read.target),
    fields: editedPairs(head.fields, taken.requestFilters),
  };
  const responseEdits =
    extras?.cors === undefined
      ? taken.responseFilters
      : inTurn(corsEdits(extras.cors, facts), taken.responseFilters);
  const changes = changesOf(head, sent, taken, responseEdits);
  const decisions = [...before];
  if (changes.length > 0)
    decisions.push(
      decision("caller", "filters", plural(changes.length, "change"), {
        source: ruleSource(trace, rule, "filters"),
        details: changes,
      }),
    );
  const fault = faultDecision(destination, facts, question.wall);
  if (fault !== undefined) decisions.push(fault.decision);
  const drawn = fault?.drawn;
  const broken = drawn === undefined ? undefined : endedBy(drawn);
  if (broken !== undefined)
    return endsWith(decisions, broken.ends, { ...found, ...broken.outcome });
  decisions.push(backendDecision(trace, taken, question.draw !== undefined));
  decisions.push(
    ...settingsDecisions({
      find: question.find,
      snapshot: question.snapshot,
      destination,
      decision: taken,
      kind: trace.kind,
      request: facts,
      faulty: drawn !== undefined,
    }),
  );
  const quiet = drawn !== undefined;
  return forwarded(decisions, cluster, sent, {
    ...found,
    // What was done on purpose is neither undone by a retry nor cut short by a time-out (trap 19).
    timeouts: quiet
      ? { request: 0, backendRequest: 0 }
      : ownTimeouts(facts, taken),
    retries: quiet ? 0 : taken.retry.attempts,
    answerFields: editedPairs([], responseEdits),
  });
}

/** How the fault ends the request; undefined where it goes on. */
function endedBy({
  policy,
  abort,
  reset,
}: Injection):
  | { readonly ends: "reset" | "refusal"; readonly outcome: Partial<Outcome> }
  | undefined {
  const outcome = { reason: "FAULT_INJECTED", by: policy } as const;
  if (abort !== undefined) {
    const { status, grpc: grpcStatus } = abort;
    return { ends: "refusal", outcome: { ...outcome, status, grpcStatus } };
  }
  return reset ? { ends: "reset", outcome } : undefined;
}

/** What the rule's filters make of the request and of its response, a line for each change. */
function changesOf(
  head: CallerQuestion["head"],
  sent: SentRequest,
  { extras, requestFilters }: ForwardDecision,
  responseEdits: ForwardDecision["responseFilters"],
): readonly string[] {
  return [
    ...(sent.target === head.path
      ? []
      : [`path: ${head.path} becomes ${sent.target}`]),
    ...(sent.authority === head.authority
      ? []
      : [`host: ${head.authority} becomes ${sent.authority}`]),
    ...editsText("request", requestFilters),
    ...editsText("answer", responseEdits),
    ...(extras?.mirrors ?? []).map(
      ({ cluster: copy, share }) =>
        `${percent(share)} of the requests are copied to ${copy.destination}`,
    ),
  ];
}

function forwarded(
  decisions: readonly Decision[],
  cluster: ForwardDecision["cluster"],
  sent: SentRequest,
  found: Partial<Outcome>,
): CallerAnswer {
  const outcome = { ...found, backend: cluster.destination, sent };
  if (!cluster.endpoints.some(({ ready }) => ready))
    return refused(
      decisions,
      decision(
        "caller",
        "balancing",
        `${cluster.key} has no ready endpoint, of ${cluster.endpoints.length} in all`,
        { refusal: { code: "NO_ENDPOINT" } },
      ),
      outcome,
    );
  return {
    decisions,
    outcome: { ...outcome, answeredBy: "application", allowed: true },
    onward: { via: cluster, sent },
    draws: [undefined],
  };
}

function refused(
  decisions: readonly Decision[],
  last: Decision,
  found: Partial<Outcome>,
): CallerAnswer {
  const { refusal } = last;
  return endsWith([...decisions, last], "refusal", {
    ...found,
    ...(refusal === undefined ? {} : { reason: refusal.code }),
    ...(refusal?.policy === undefined ? {} : { by: refusal.policy }),
  });
}

function endsWith(
  decisions: readonly Decision[],
  answeredBy: Outcome["answeredBy"],
  found: Partial<Outcome>,
): CallerAnswer {
  return {
    decisions,
    outcome: { ...found, answeredBy, allowed: found.reason === undefined },
    onward: undefined,
    draws: [undefined],
  };
}
