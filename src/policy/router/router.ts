/**
 * Which rule of the routes a request meets: HTTPRoute's full order of precedence, compiled to look-ups (trap 8).
 *
 * ```
 *   Exact  →  longest PathPrefix (by element)  →  RegularExpression      what kind of path: which table
 *     then, within a path: method → #headers → #query → oldest → ns/name → rule → match      order in its list
 * ```
 * The kind of path outranks all else, so the first list with a match has the answer.
 */
import { upperEscapes } from "../../core/text/percent.ts";
import type { HTTPRouteMatch } from "../../resources/http-route/spec.ts";
import {
  compileEntry,
  parameterReader,
  unmet,
  type Candidate,
  type ParameterReader,
  type RoutedRequest,
  type RouteEntry,
  type RuleRef,
} from "./candidate.ts";
import { compare, precedence, withoutSlash } from "./precedence.ts";

export interface Router<D> {
  /** Where the request goes; `random` in [0, 1) draws among the weights. Undefined: no match. */
  route(request: RoutedRequest, random: number): D | undefined;
  /** How `route` came to its answer, by the same lists and the same conditions. */
  explain(request: RoutedRequest): RouterTrace<D>;
}

export interface RouterTrace<D> {
  /** In the order in which they are asked; those that the path rules out stand last. */
  readonly considered: readonly ConsideredMatch[];
  /** Where the match that takes the request leads; none where no match does. */
  readonly targets: RouteEntry<D>["targets"];
}

export interface ConsideredMatch {
  readonly ref: RuleRef;
  /** Why it does not take the request; undefined for the one that does. */
  readonly why: string | undefined;
}

export function compileRouter<D>(entries: readonly RouteEntry<D>[]): Router<D> {
  return new CompiledRouter(entries);
}

type Candidates<D> = readonly Candidate<D>[] | undefined;

class CompiledRouter<D> implements Router<D> {
  readonly #exact = new Map<string, Candidate<D>[]>();
  readonly #prefixes = new Map<string, Candidate<D>[]>();
  readonly #expressions: Candidate<D>[] = [];
  /** Elements of the longest prefix. */
  readonly #depth: number;
  readonly #parameters: ParameterReader;

  constructor(entries: readonly RouteEntry<D>[]) {
    this.#parameters = parameterReader(entries);
    const { read } = this.#parameters;
    const candidates = entries.map((entry) => compileEntry(entry, read));
    let depth = 0;
    for (const candidate of candidates.sort(compare)) {
      const { type = "PathPrefix", value: stated = "/" } =
        candidate.entry.match.path ?? {};
      const value = upperEscapes(stated);
      if (type === "RegularExpression") this.#expressions.push(candidate);
      else if (type === "Exact") append(this.#exact, value, candidate);
      else {
        const prefix = withoutSlash(value);
        depth = Math.max(depth, elements(prefix));
        append(this.#prefixes, prefix, candidate);
      }
    }
    this.#depth = depth;
  }

  route(request: RoutedRequest, random: number): D | undefined {
    this.#parameters.begin();
    const found = this.#walk(request, first);
    this.#parameters.begin();
    return found === undefined ? undefined : draw(found, random);
  }

  explain(request: RoutedRequest): RouterTrace<D> {
    this.#parameters.begin();
    const taken = this.#walk(request, first);
    const reached: Candidate<D>[] = [];
    this.#walk(request, (list) => {
      reached.push(...(list ?? []));
    });
    const ruledOut = this.#all().filter((each) => !reached.includes(each));
    const considered = [
      ...reached.map((each) => ({
        ref: each.entry.ref,
        why: each === taken ? undefined : whyNot(each, request, taken),
      })),
      ...ruledOut.map(({ entry }) => ({
        ref: entry.ref,
        why: offPath(entry.match, request.path),
      })),
    ];
    this.#parameters.begin();
    return { considered, targets: taken?.entry.targets ?? [] };
  }

  #all(): readonly Candidate<D>[] {
    return [
      ...[...this.#exact.values()].flat(),
      ...[...this.#prefixes.values()].flat(),
      ...this.#expressions,
    ];
  }

  /** Shows `visit` each list that the path leads to, in order of precedence, until it finds something. */
  #walk<T>(
    request: RoutedRequest,
    visit: (list: Candidates<D>, request: RoutedRequest) => T | undefined,
  ): T | undefined {
    const { path } = request;
    const exact = this.#exact;
    // To look up a path makes V8 keep it: not where there is nothing to find.
    let found = exact.size > 0 ? visit(exact.get(path), request) : undefined;
    if (found === undefined && this.#depth > 0)
      for (
        let prefix = cut(path, this.#depth);
        prefix !== "";
        prefix = up(prefix)
      ) {
        found = visit(this.#prefixes.get(prefix), request);
        if (found !== undefined) break;
      }
    found ??= visit(this.#prefixes.get(""), request);
    return found ?? visit(this.#expressions, request);
  }
}

/** The first of the list, which is in order of precedence, whose other conditions the request meets. */
function first<D>(
  candidates: Candidates<D>,
  request: RoutedRequest,
): Candidate<D> | undefined {
  if (candidates === undefined) return undefined;
  for (const candidate of candidates)
    if (unmet(candidate, request) === undefined) return candidate;
  return undefined;
}

function whyNot<D>(
  candidate: Candidate<D>,
  request: RoutedRequest,
  taken: Candidate<D> | undefined,
): string {
  const condition = unmet(candidate, request);
  if (condition === undefined)
    return `matches too, but ${taken === undefined ? "another" : precedence(taken, candidate)} goes first`;
  const value = condition.read(request);
  return `${condition.of} ${value === undefined ? "is missing" : `is ${JSON.stringify(value)}`}, not ${condition.wanted}`;
}

function offPath({ path }: HTTPRouteMatch, asked: string): string {
  const { type = "PathPrefix", value = "/" } = path ?? {};
  return `path is ${JSON.stringify(asked)}, not ${type === "Exact" ? "" : "under "}${JSON.stringify(value)}`;
}

/** Draws by weight: the share [0, w₁) of `random` is the first target's, and so on. */
function draw<D>(candidate: Candidate<D>, random: number): D | undefined {
  const { targets } = candidate.entry;
  let rest = random * candidate.total;
  for (const target of targets) {
    if (rest < target.weight) return target.to;
    rest -= target.weight;
  }
  // Rounding may leave a crumb; the last share that is one takes it.
  return targets.findLast((target) => target.weight > 0)?.to;
}

function elements(prefix: string): number {
  return prefix.split("/").length - 1;
}

/** The first `depth` elements of a path: no prefix is longer, so the walk up need not start higher. */
function cut(path: string, depth: number): string {
  let at = 0;
  for (let element = 0; element < depth; element += 1) {
    at = path.indexOf("/", at + 1);
    if (at < 0) return withoutSlash(path);
  }
  return path.slice(0, at);
}

function up(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function append<D>(
  table: Map<string, Candidate<D>[]>,
  key: string,
  candidate: Candidate<D>,
): void {
  const list = table.get(key);
  if (list === undefined) table.set(key, [candidate]);
  else list.push(candidate);
}
