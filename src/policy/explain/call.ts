/** A call from its caller's sidecar to the application, and what becomes of it on the other shares of a split and at other instances. */
import { canonicalAddress } from "../../core/text/network.ts";
import type { WallMs } from "../../core/units.ts";
import type { ClaimSet } from "../../identity/jwt/claims.ts";
import type { RequestHeadLike } from "../path.ts";
import type { Cluster, Endpoint, Snapshot } from "../snapshot.ts";
import { explainCallee } from "./callee.ts";
import { telemetryDecisions } from "./telemetry.ts";
import { explainCaller, type CallerAnswer, type Where } from "./caller.ts";
import type { AskedConnection } from "./not-given.ts";
import {
  decision,
  valueAt,
  type Decision,
  type Lookup,
  type Outcome,
  type SentRequest,
} from "./decision.ts";

/** A snapshot, and the resources that it was compiled from. */
export interface Side {
  readonly snapshot: Snapshot;
  readonly find: Lookup;
}

export interface CallQuestion {
  /** Whose sidecar sends it; `plaintext` for a caller without one, whose side decides nothing. */
  readonly caller: Side & { readonly plaintext: boolean };
  readonly where: Where;
  readonly head: RequestHeadLike;
  /** A CONNECT, or bytes that are not HTTP. */
  readonly tunnel: boolean;
  /** In [0, 1): which share of a split. Undefined: the largest, and what differs on the others. */
  readonly draw: number | undefined;
  /** "NAMESPACE/NAME" of the instance that takes it. Undefined: the first ready one, and what differs at the others. */
  readonly workload: string | undefined;
  /** Claims of a token that the request is taken to have; absent: what it has is looked at. */
  readonly claims?: ClaimSet | undefined;
  /** IP address that the callee's sidecar sees. Absent: that of the caller's Workload, where it has one. */
  readonly fromAddress?: string | undefined;
  /** The host that TLS of the connection names to the callee's sidecar; "": it names none. Absent: nobody has said it. */
  readonly serverName?: string | undefined;
  /** Wall milliseconds. */
  readonly wall: WallMs;
  /** What is in force beside the Workload "NAMESPACE/NAME"; undefined where that is not known. */
  readonly calleeOf: (workload: string) => Side | undefined;
}

export interface CallExplanation {
  readonly decisions: readonly Decision[];
  readonly outcome: Outcome;
  /** Shares and instances that it does not fare so on. */
  readonly elsewhere: readonly Elsewhere[];
}

export interface Elsewhere {
  readonly backend: string | undefined;
  readonly workload: string | undefined;
  readonly outcome: Outcome;
}

interface Taken {
  readonly decisions: readonly Decision[];
  readonly outcome: Outcome;
}

export function explainCall(question: CallQuestion): CallExplanation {
  const { workload } = question;
  const all = callerAnswer(question, question.draw).draws.map((draw) =>
    callerAnswer(question, draw),
  );
  // A question that names an instance is about the shares that lead to it.
  const there = all.filter((answer) => leadsTo(answer, workload));
  const answers = there.length === 0 ? all : there;
  const takes = answers.flatMap((answer) => {
    const endpoints = endpointsOf(answer, workload);
    return endpoints.length === 0
      ? [answer]
      : endpoints.map((endpoint) => withCallee(question, answer, endpoint));
  });
  const [chosen = callerAnswer(question, question.draw), ...others] = takes;
  const seen = new Set([fateOf(chosen.outcome)]);
  const elsewhere: Elsewhere[] = [];
  for (const { outcome } of others) {
    const fate = fateOf(outcome);
    if (seen.has(fate)) continue;
    seen.add(fate);
    const { backend, workload: at } = outcome;
    elsewhere.push({ backend, workload: at, outcome });
  }
  const { decisions, outcome } = chosen;
  return { decisions, outcome, elsewhere };
}

function leadsTo(
  { onward }: CallerAnswer,
  workload: string | undefined,
): boolean {
  return (
    onward?.via.endpoints.some((endpoint) => endpoint.workload === workload) ??
    false
  );
}

/** What a caller would call another result. */
function fateOf(outcome: Outcome): string {
  const { answeredBy, reason, by, allowed, shadow, dependsOn } = outcome;
  return JSON.stringify([
    ...[answeredBy, allowed, reason, allowed ? "" : by],
    ...[shadow, dependsOn],
  ]);
}

function callerAnswer(
  question: CallQuestion,
  draw: number | undefined,
): CallerAnswer {
  const { caller, where, head, tunnel, wall } = question;
  if (caller.plaintext && where.kind === "mesh")
    return unmediated(where.destination.cluster, head);
  const { snapshot, find } = caller;
  const answer = explainCaller({
    ...{ snapshot, find, where, head, tunnel, draw, wall },
  });
  const recorded = telemetryDecisions("caller", snapshot);
  return { ...answer, decisions: [...recorded, ...answer.decisions] };
}

/** Without a sidecar the call goes to an instance as it is. */
function unmediated(via: Cluster, head: RequestHeadLike): CallerAnswer {
  const { method, authority, path, fields } = head;
  const sent: SentRequest = { method, authority, target: path, fields };
  return {
    decisions: [
      decision(
        "caller",
        "destination",
        `${via.destination}, in plaintext: the caller has no sidecar, so no route acts`,
      ),
    ],
    outcome: {
      answeredBy: "application",
      allowed: true,
      backend: via.destination,
      sent,
    },
    onward: { via, sent },
    draws: [undefined],
  };
}

function endpointsOf(
  { onward }: CallerAnswer,
  workload: string | undefined,
): readonly Endpoint[] {
  if (onward === undefined) return [];
  const ready = onward.via.endpoints.filter((endpoint) => endpoint.ready);
  const named = ready.filter((endpoint) => endpoint.workload === workload);
  return named.length > 0 ? named : ready;
}

/** Both ends, as far as the question or a Workload says them: a Workload may have a name in place of an address. */
function connectionTo(
  { caller: { snapshot, find }, fromAddress, serverName }: CallQuestion,
  endpoint: Endpoint,
): AskedConnection {
  const { namespace, name } = snapshot.self;
  const workload = `${namespace}/${name}`;
  const own = valueAt(find(`Workload/${workload}`), "address");
  const taken =
    fromAddress === undefined && typeof own === "string"
      ? canonicalAddress(own)
      : undefined;
  return {
    remoteAddress: fromAddress ?? taken,
    addressOf: taken === undefined ? undefined : workload,
    localAddress: canonicalAddress(endpoint.address),
    serverName,
  };
}

function withCallee(
  question: CallQuestion,
  { decisions, outcome, onward }: CallerAnswer,
  endpoint: Endpoint,
): Taken {
  const { caller, tunnel, claims, calleeOf } = question;
  const { workload, link } = endpoint;
  if (onward === undefined) return { decisions, outcome };
  const there = link === undefined ? undefined : calleeOf(workload);
  if (there === undefined)
    return {
      decisions: [
        ...decisions,
        decision(
          "callee",
          "port",
          link === undefined
            ? `no sidecar stands before ${endpoint.key}: nothing is judged there`
            : `what is in force beside ${workload} is not known`,
        ),
      ],
      outcome: { ...outcome, workload },
    };
  const { sent, via } = onward;
  const answer = explainCallee({
    ...there,
    arrival: caller.plaintext
      ? { kind: "plaintext", port: endpoint.port }
      : { kind: "link", destination: via.destination },
    peer: caller.plaintext ? undefined : caller.snapshot.self.identity,
    connection: connectionTo(question, endpoint),
    sent,
    tunnel,
    claims,
    wall: question.wall,
  });
  const { refusal, allowedBy, shadow, dependsOn, target, fields } = answer;
  const judged = {
    ...outcome,
    ...(shadow.length === 0 ? {} : { shadow }),
    ...(dependsOn.length === 0 ? {} : { dependsOn }),
  };
  return {
    decisions: [
      ...decisions,
      ...telemetryDecisions("callee", there.snapshot),
      ...answer.decisions,
    ],
    outcome:
      refusal === undefined
        ? {
            ...judged,
            sent: { ...sent, target, fields },
            workload,
            ...(allowedBy === undefined ? {} : { by: allowedBy }),
          }
        : {
            ...judged,
            workload,
            answeredBy: "refusal",
            allowed: false,
            reason: refusal.code,
            ...(refusal.policy === undefined ? {} : { by: refusal.policy }),
          },
  };
}
