/** What the schemas of the filters cannot state: a filter without its field, a path that no normalised request could have, two words on one header. */
import type { Problem } from "../kind.ts";
import type { Segment } from "../path.ts";
import { duplicates, error, fault, warning } from "../problems.ts";
import type {
  BackendFilter,
  CORS,
  GRPCRouteFilter,
  HeaderModifier,
  HTTPRouteFilter,
  PathModifier,
  RequestMirror,
} from "./schema.ts";
import { filterNameFault, pathFault } from "../text-checks.ts";

type Path = readonly Segment[];
type Filter = HTTPRouteFilter | GRPCRouteFilter | BackendFilter;

/** The field of each type. */
const FIELD_OF = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect",
  URLRewrite: "urlRewrite",
  CORS: "cors",
} as const;

/** One rule may have any number of these. */
const REPEATABLE: ReadonlySet<string> = new Set(["RequestMirror"]);

/** `at` is the path of the list. `prefixed`: the rule has the one PathPrefix match that ReplacePrefixMatch needs. */
export function checkFilters(
  filters: readonly Filter[] | undefined,
  at: Path,
  prefixed: boolean,
): Problem[] {
  const list: readonly HTTPRouteFilter[] = filters ?? [];
  const redirect = list.findIndex(({ type }) => type === "RequestRedirect");
  return [
    ...duplicates(
      list,
      ({ type }) => (REPEATABLE.has(type) ? undefined : type),
      (index) => [...at, index, "type"],
      "a filter of type",
    ),
    ...(redirect >= 0 && list.some(({ type }) => type === "URLRewrite")
      ? [
          error(
            [...at, redirect, "type"],
            "RequestRedirect does not go with URLRewrite: what is redirected is not forwarded",
          ),
        ]
      : []),
    ...list.flatMap((filter, index) =>
      checkFilter(filter, [...at, index], prefixed),
    ),
  ];
}

function checkFilter(
  filter: HTTPRouteFilter,
  at: Path,
  prefixed: boolean,
): Problem[] {
  const problems: Problem[] = [];
  for (const [type, field] of Object.entries(FIELD_OF)) {
    const there = filter[field] !== undefined;
    if (type === filter.type && !there)
      problems.push(
        error([...at, field], `is required where type is ${filter.type}`),
      );
    if (type !== filter.type && there)
      problems.push(
        error([...at, field], `does not go with type ${filter.type}`),
      );
  }
  const { requestRedirect, urlRewrite } = filter;
  return [
    ...problems,
    ...checkModifier(filter.requestHeaderModifier, [
      ...at,
      FIELD_OF.RequestHeaderModifier,
    ]),
    ...checkModifier(filter.responseHeaderModifier, [
      ...at,
      FIELD_OF.ResponseHeaderModifier,
    ]),
    ...checkMirror(filter.requestMirror, [...at, FIELD_OF.RequestMirror]),
    ...checkPathModifier(
      requestRedirect?.path,
      [...at, FIELD_OF.RequestRedirect, "path"],
      prefixed,
    ),
    ...checkPathModifier(
      urlRewrite?.path,
      [...at, FIELD_OF.URLRewrite, "path"],
      prefixed,
    ),
    ...checkCors(filter.cors, [...at, FIELD_OF.CORS]),
  ];
}

function checkModifier(
  modifier: HeaderModifier | undefined,
  at: Path,
): Problem[] {
  const problems: Problem[] = [];
  const lists = [
    ["set", modifier?.set?.map((pair) => pair.name), ["name"]],
    ["add", modifier?.add?.map((pair) => pair.name), ["name"]],
    ["remove", modifier?.remove, []],
  ] as const;
  // "Multiple actions of the same or different type for any one header name are invalid" (HTTPHeaderFilter).
  const seen = new Map<string, string>();
  for (const [list, names, rest] of lists)
    for (const [index, name] of (names ?? []).entries()) {
      const path = [...at, list, index, ...rest];
      problems.push(...fault(filterNameFault(name), path));
      const lower = name.toLowerCase();
      const earlier = seen.get(lower);
      if (earlier !== undefined)
        problems.push(
          error(
            path,
            earlier === list
              ? `the header "${lower}" is there already`
              : `the header "${lower}" is in ${earlier} already: one filter does one thing to a header`,
          ),
        );
      else seen.set(lower, list);
    }
  return problems;
}

function checkMirror(mirror: RequestMirror | undefined, at: Path): Problem[] {
  if (mirror === undefined) return [];
  const { percent, fraction } = mirror;
  if (percent !== undefined && fraction !== undefined)
    return [
      error([...at, "fraction"], "does not go with percent: say it once"),
    ];
  const { numerator = 0, denominator = 100 } = fraction ?? {};
  if (numerator > denominator)
    return [
      error(
        [...at, "fraction", "numerator"],
        `(${numerator}) is above the denominator (${denominator})`,
      ),
    ];
  return percent === 0 || (fraction !== undefined && numerator === 0)
    ? [warning(at, "copies nothing: its share is 0")]
    : [];
}

function checkPathModifier(
  modifier: PathModifier | undefined,
  at: Path,
  prefixed: boolean,
): Problem[] {
  if (modifier === undefined) return [];
  const { type, replaceFullPath, replacePrefixMatch } = modifier;
  const whole = type === "ReplaceFullPath";
  const needed = whole ? "replaceFullPath" : "replacePrefixMatch";
  const other = whole ? "replacePrefixMatch" : "replaceFullPath";
  const problems: Problem[] = [];
  if (modifier[needed] === undefined)
    problems.push(error([...at, needed], `is required where type is ${type}`));
  if (modifier[other] !== undefined)
    problems.push(error([...at, other], `does not go with type ${type}`));
  if (!whole && !prefixed)
    problems.push(
      error(
        [...at, "type"],
        "ReplacePrefixMatch needs a rule with exactly one match, and that of a PathPrefix",
      ),
    );
  if (replaceFullPath !== undefined)
    problems.push(
      ...fault(pathFault(replaceFullPath), [...at, "replaceFullPath"]),
    );
  // An empty text takes the prefix away.
  if (replacePrefixMatch !== undefined && replacePrefixMatch !== "")
    problems.push(
      ...fault(pathFault(replacePrefixMatch), [...at, "replacePrefixMatch"]),
    );
  return problems;
}

function checkCors(cors: CORS | undefined, at: Path): Problem[] {
  if (cors === undefined) return [];
  const problems: Problem[] = [];
  for (const field of [
    "allowOrigins",
    "allowMethods",
    "allowHeaders",
  ] as const) {
    const values: readonly string[] = cors[field] ?? [];
    if (values.length > 1 && values.includes("*"))
      problems.push(
        error([...at, field], '"*" stands for all: name nothing beside it'),
      );
  }
  for (const [index, origin] of (cors.allowOrigins ?? []).entries())
    if (Number(/:([0-9]+)$/.exec(origin)?.[1] ?? 1) > 65_535)
      problems.push(
        error([...at, "allowOrigins", index], "has a port above 65535"),
      );
  if (cors.allowOrigins === undefined)
    problems.push(
      warning(at, "has no allowOrigins: no page of another origin may call"),
    );
  return problems;
}
