/**
 * The rules of HTTPRoutes → what the router takes: each match by itself, and where its filters and backends lead. Backends stay names
 * here: what changes behind one changes no rule (`binding.ts`).
 */
import { serviceKey } from "../../mesh/service-key.ts";
import type {
  BackendRef,
  HTTPRouteResource,
  HTTPRouteRule,
} from "../../resources/http-route/spec.ts";
import { DEFAULT_WEIGHT } from "../../resources/http-route/spec.ts";
import { createdAt, type Resource } from "../../resources/envelope.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import type {
  BackendFilter,
  HTTPRouteFilter,
  ServiceRef,
} from "../../resources/route-filters/schema.ts";
import { compileCors, type CorsPolicy } from "../routing/cors.ts";
import { compileEdits, inTurn } from "../routing/header-edits.ts";
import { mirrorShare } from "../routing/mirror.ts";
import { compileRetry } from "../retry.ts";
import type { RouteEntry, RuleRef } from "../router/candidate.ts";
import type {
  ForwardDecision,
  RedirectDecision,
  RefuseDecision,
  RouteExtras,
} from "../snapshot.ts";
import { effectiveTimeouts } from "../timeout.ts";
import { compileRedirect, compileRewrite } from "../routing/url-rewrite.ts";
import { nameOf } from "./held/held.ts";

/** What the compiling of a rule looks up, and where it says what the rule refers to. */
export interface RuleContext {
  readonly mesh: MeshSettings;
  readonly references: Reference[];
}

/** What a rule leads to, or copies to. */
export interface Reference {
  /** "HTTPRoute shop/reviews rule 0" */
  readonly where: string;
  /** Key of a cluster: "orders.shop:80". */
  readonly backend: string;
  readonly mirror: boolean;
}

/** A decision but for what is behind the backends. */
export type UnboundDecision =
  | UnboundForward
  | RedirectDecision
  | RefuseDecision;

export interface UnboundForward extends Omit<
  ForwardDecision,
  "cluster" | "extras"
> {
  /** Key of a cluster. */
  readonly backend: string;
  readonly extras: Omit<RouteExtras, "mirrors"> | undefined;
  readonly mirrors: readonly UnboundMirror[];
}

export interface UnboundMirror {
  readonly backend: string;
  readonly share: number;
}

/** What both kinds of routes have in a rule. */
export type AnyRule = Pick<
  HTTPRouteRule,
  "filters" | "backendRefs" | "timeouts" | "retry"
>;

/** Each match of each rule by itself, for each sorts by itself (trap 8). */
export function httpEntries(
  route: HTTPRouteResource,
  context: RuleContext,
): RouteEntry<UnboundDecision>[] {
  const name = nameOf(route);
  const age = createdAt(route);
  return route.spec.rules.flatMap((rule, ruleIndex) => {
    const targetsOf = compileRule(
      rule,
      rule.matches?.[0]?.path?.value ?? "/",
      route,
      `HTTPRoute ${name} rule ${ruleIndex}`,
      context,
    );
    return (rule.matches ?? [{}]).map((match, matchIndex) => {
      const ref: RuleRef = { route: name, rule: ruleIndex, match: matchIndex };
      return { ref, createdAt: age, match, targets: targetsOf(ref) };
    });
  });
}

/** The rules with CORS and those without, so that a preflight can be asked as what it announces. */
export function preflightEntries(
  route: HTTPRouteResource,
): RouteEntry<CorsPolicy | undefined>[] {
  const name = nameOf(route);
  return route.spec.rules.flatMap((rule, ruleIndex) => {
    const cors = corsOf(rule.filters);
    return (rule.matches ?? [{}]).map((match, matchIndex) => ({
      ref: { route: name, rule: ruleIndex, match: matchIndex },
      createdAt: createdAt(route),
      match,
      targets: [{ weight: 1, to: cors }],
    }));
  });
}

export function hasCors(route: HTTPRouteResource): boolean {
  return route.spec.rules.some(
    ({ filters }) => filters?.some(({ type }) => type === "CORS") ?? false,
  );
}

type Targets = RouteEntry<UnboundDecision>["targets"];

/** Where the requests that a rule takes go, as a function of the match that took them. `prefix` is that of its PathPrefix match. */
export function compileRule(
  rule: AnyRule,
  prefix: string,
  route: Resource,
  where: string,
  context: RuleContext,
): (ref: RuleRef) => Targets {
  const filters: readonly HTTPRouteFilter[] = rule.filters ?? [];
  const responseFilters = compileEdits(filters, "response");
  const redirect = filters.find(
    ({ requestRedirect }) => requestRedirect !== undefined,
  )?.requestRedirect;
  if (redirect !== undefined) {
    const compiled = compileRedirect(redirect, prefix);
    const cors = corsOf(filters);
    return (ref) => [
      {
        weight: 1,
        to: {
          kind: "redirect",
          rule: ref,
          redirect: compiled,
          responseFilters,
          cors,
        },
      },
    ];
  }
  const requestFilters = compileEdits(filters, "request");
  const shared = {
    extras: extrasOf(filters, prefix),
    mirrors: mirrorsOf(filters, route, where, context),
    timeouts: effectiveTimeouts(rule.timeouts, context.mesh.defaults.timeouts),
    retry: compileRetry(rule.retry, context.mesh.defaults.retry),
  };
  const shares = sharesOf(rule.backendRefs ?? [], route, where, context).map(
    ({ weight, backend, filters: own }) => ({
      weight,
      backend,
      requestFilters: inTurn(requestFilters, compileEdits(own, "request")),
      responseFilters: inTurn(compileEdits(own, "response"), responseFilters),
    }),
  );
  return (ref) =>
    shares.map(({ weight, backend, ...edits }) => ({
      weight,
      to:
        backend === undefined
          ? {
              kind: "refuse",
              code: "BACKEND_INVALID",
              rule: ref,
              cors: shared.extras?.cors,
            }
          : { kind: "forward", rule: ref, backend, ...edits, ...shared },
    }));
}

function corsOf(
  filters: readonly HTTPRouteFilter[] | undefined,
): CorsPolicy | undefined {
  const filter = filters?.find(({ cors }) => cors !== undefined)?.cors;
  return filter === undefined ? undefined : compileCors(filter);
}

function extrasOf(
  filters: readonly HTTPRouteFilter[],
  prefix: string,
): UnboundForward["extras"] {
  const urlRewrite = filters.find(
    (each) => each.urlRewrite !== undefined,
  )?.urlRewrite;
  const rewrite =
    urlRewrite === undefined ? undefined : compileRewrite(urlRewrite, prefix);
  const cors = corsOf(filters);
  return rewrite === undefined && cors === undefined
    ? undefined
    : { rewrite, cors };
}

function mirrorsOf(
  filters: readonly HTTPRouteFilter[],
  route: Resource,
  where: string,
  { references }: RuleContext,
): readonly UnboundMirror[] {
  return filters.flatMap(({ requestMirror }) => {
    if (requestMirror === undefined) return [];
    const backend = backendKey(requestMirror.backendRef, route);
    references.push({ where, backend, mirror: true });
    const share = mirrorShare(requestMirror);
    return share === 0 ? [] : [{ backend, share }];
  });
}

interface Share {
  readonly weight: number;
  /** Undefined: this share of the requests gets status 500 (trap 10). */
  readonly backend: string | undefined;
  readonly filters: readonly BackendFilter[] | undefined;
}

function sharesOf(
  backends: readonly BackendRef[],
  route: Resource,
  where: string,
  { references }: RuleContext,
): readonly Share[] {
  const shares = backends.map((ref) => {
    const backend = backendKey(ref, route);
    references.push({ where, backend, mirror: false });
    return {
      weight: ref.weight ?? DEFAULT_WEIGHT,
      backend,
      filters: ref.filters,
    };
  });
  // Neither "no backend" nor "none with a weight" leaves anywhere to go: Gateway API wants 500.
  return shares.some(({ weight }) => weight > 0)
    ? shares
    : [{ weight: 1, backend: undefined, filters: undefined }];
}

function backendKey(ref: ServiceRef, route: Resource): string {
  return serviceKey(
    ref.name,
    ref.namespace ?? route.metadata.namespace ?? "",
    ref.port,
  );
}
