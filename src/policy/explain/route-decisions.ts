/** Which service, which rule, which backend: the decisions of the caller's side that routes make. */
import type { RuleRef } from "../router/candidate.ts";
import type {
  Destination,
  ForwardDecision,
  RefuseDecision,
  RouteDecision,
  RouteKind,
  RouteTrace,
} from "../snapshot.ts";
import {
  decision,
  sourceOf,
  valueAt,
  type Decision,
  type Lookup,
  type NotMatched,
  type Outcome,
  type Source,
} from "./decision.ts";
import { percent } from "./words.ts";

export function destinationDecision(
  find: Lookup,
  { cluster, port, service }: Destination,
): Decision {
  const name = `${service.namespace}/${service.name}`;
  const ports = valueAt(find(`Service/${name}`), "ports");
  const index = Array.isArray(ports)
    ? ports.findIndex(
        (each: unknown) =>
          typeof each === "object" &&
          each !== null &&
          "port" in each &&
          each.port === port.port,
      )
    : -1;
  return decision("caller", "destination", cluster.destination, {
    source: sourceOf(
      "Service",
      name,
      index < 0 ? undefined : `spec.ports[${index}]`,
    ),
    details: [
      `appProtocol is ${cluster.appProtocol}`,
      ...(cluster.belowWildcard === true ? [belowText(cluster)] : []),
    ],
  });
}

function belowText({ endpoints }: Destination["cluster"]): string {
  return `${endpoints[0]?.address ?? ""} is below a wildcard of its hosts: it is called by its own name, and only at public addresses and those of privateFetch`;
}

/** For each share the draw in its middle, the largest share first. */
export function drawsOf({ shares }: RouteTrace): readonly number[] {
  let before = 0;
  return shares
    .map(({ share }) => {
      const draw = before + share / 2;
      before += share;
      return { share, draw };
    })
    .sort((left, right) => right.share - left.share)
    .map(({ draw }) => draw);
}

export function sharesOf({ shares }: RouteTrace): Record<string, number> {
  const byBackend: Record<string, number> = {};
  for (const { share, decision: to } of shares) {
    const backend =
      to.kind === "forward"
        ? to.cluster.destination
        : to.kind === "refuse"
          ? "no such backend"
          : undefined;
    if (backend !== undefined)
      byBackend[backend] = (byBackend[backend] ?? 0) + share;
  }
  return byBackend;
}

export function foundIn(
  rule: RuleRef | undefined,
): Pick<Outcome, "route" | "rule" | "match"> {
  return rule === undefined || rule.route === ""
    ? {}
    : { route: rule.route, rule: rule.rule, match: rule.match };
}

export function routeDecision(
  find: Lookup,
  { key }: Destination,
  { kind, considered, passedOver }: RouteTrace,
  taken: RouteDecision,
): Decision {
  const notMatched: NotMatched[] = [
    ...considered.flatMap(({ ref, why }) =>
      why === undefined || kind === undefined
        ? []
        : [{ source: matchSource(find, kind, ref), why }],
    ),
    ...passedOver.map(({ kind: of, route, why }) => ({
      source: sourceOf(of, route),
      why,
    })),
  ];
  if (kind === undefined)
    return decision(
      "caller",
      "route",
      "no route acts here: all goes to the Service itself",
      { notMatched },
    );
  const { rule } = taken;
  if (rule === undefined)
    return decision(
      "caller",
      "route",
      `no rule of the routes of ${key} matches`,
      { notMatched, refusal: { code: "NO_ROUTE" } },
    );
  return decision(
    "caller",
    "route",
    `rule ${rule.rule} of ${kind} ${rule.route}`,
    { source: matchSource(find, kind, rule), notMatched },
  );
}

/** A rule without matches takes every request, and is its own source. */
function matchSource(
  find: Lookup,
  kind: RouteKind,
  { route, rule, match }: RuleRef,
): Source {
  const stated = valueAt(find(`${kind}/${route}`), "rules", rule, "matches");
  const field = `spec.rules[${rule}]`;
  return sourceOf(
    kind,
    route,
    stated === undefined ? field : `${field}.matches[${match}]`,
  );
}

export function ruleSource(
  { kind }: RouteTrace,
  { route, rule }: RuleRef,
  field: string,
): Source | undefined {
  return kind === undefined
    ? undefined
    : sourceOf(kind, route, `spec.rules[${rule}].${field}`);
}

export function invalidBackend(
  trace: RouteTrace,
  { rule, code }: RefuseDecision,
): Decision {
  return decision("caller", "backend", "the backend does not exist", {
    source:
      rule === undefined ? undefined : ruleSource(trace, rule, "backendRefs"),
    refusal: {
      code,
      ...(rule === undefined ? {} : { policy: rule.route }),
    },
  });
}

export function backendDecision(
  trace: RouteTrace,
  { cluster, rule }: ForwardDecision,
  drawn: boolean,
): Decision {
  const shares = Object.entries(sharesOf(trace));
  return decision(
    "caller",
    "backend",
    `${cluster.destination}${shares.length > 1 ? `, ${drawn ? "as drawn" : "the largest share"}` : ""}`,
    {
      source: ruleSource(trace, rule, "backendRefs"),
      details:
        shares.length > 1
          ? shares.map(([backend, share]) => `${percent(share)}: ${backend}`)
          : [],
    },
  );
}
