/** Everything that can be said of a set of files without a control plane, with file, line and column. */
import type { WallMs } from "../core/units.ts";
import { checkAttributes, opaqueServices } from "./cross-checks/attributes.ts";
import { conflicts } from "./cross-checks/conflicts.ts";
import { formatKey, keyOf, type Resource } from "./envelope.ts";
import { checkExpiry } from "./fault-injection/check.ts";
import { checkHosts } from "./ownership/host-owners.ts";
import { isKind, type Problem } from "./kind.ts";
import { MESH, meshSettings } from "./mesh/schema.ts";
import { checkReach, reachOf } from "./cross-checks/reach.ts";
import { checkReferences, type Lookup } from "./cross-checks/references.ts";
import { SERVICE, type ServiceResource } from "./service/schema.ts";
import { unreachableMatches } from "./cross-checks/unreachable.ts";
import { validate, type ValidateOptions } from "./validate.ts";
import { parseDocuments, type ParsedDocument, type Position } from "./yaml.ts";

export interface Finding extends Position {
  readonly file: string;
  /** Of the field; "" for the document or its syntax. */
  readonly path: string;
  readonly message: string;
  readonly severity: "error" | "warning";
}

export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

/** A validated resource and where it stands. */
export interface Located extends Position {
  readonly resource: Resource;
  readonly file: string;
  locate: ParsedDocument["locate"];
}

export interface Linted {
  /** In the order of the files; only those without an error of their own. */
  readonly resources: readonly Located[];
  /** By file, line and column. */
  readonly findings: readonly Finding[];
}

export interface LintOptions extends ValidateOptions {
  /** What exists besides the files: without it, what they do not hold is taken as missing. */
  readonly lookup?: Lookup;
  /** What time it is, in milliseconds since the epoch: without it nothing is said of expiry. */
  readonly wall?: WallMs;
}

/** Parses and validates the files, and checks them against each other. */
export function lintTexts(
  files: readonly SourceFile[],
  options: LintOptions = {},
): Linted {
  const findings: Finding[] = [];
  const resources: Located[] = [];
  for (const source of files) loadFile(source, options, resources, findings);
  const known = new Map<string, Located>();
  for (const loaded of resources) {
    const key = formatKey(keyOf(loaded.resource));
    const earlier = known.get(key);
    if (earlier === undefined) known.set(key, loaded);
    else
      findings.push(
        findingOf(loaded, {
          path: "metadata.name",
          message: `${key} is in ${earlier.file}:${earlier.line} already`,
        }),
      );
  }
  const lookup: Lookup = (key) =>
    known.get(formatKey(key))?.resource ?? options.lookup?.(key);
  const services = [...known.values()].flatMap(
    ({ resource }): ServiceResource[] =>
      isKind(SERVICE, resource) ? [resource] : [],
  );
  const opaque = opaqueServices(services);
  const populated = new Set(
    services.map(({ metadata }) => metadata.namespace ?? ""),
  );
  const all = [...known.values()].map(({ resource }) => resource);
  const mesh = all.find((resource) => isKind(MESH, resource));
  const { trustDomain } = meshSettings(mesh?.spec);
  const reach = reachOf(
    all,
    mesh === undefined ? undefined : trustDomain,
    false,
  );
  for (const loaded of known.values())
    for (const problem of [
      ...checkReach(loaded.resource, reach),
      ...(isKind(SERVICE, loaded.resource)
        ? checkHosts(
            loaded.resource,
            (namespace) => populated.has(namespace),
            trustDomain,
          )
        : []),
      ...checkReferences(loaded.resource, lookup),
      ...checkAttributes(loaded.resource, opaque),
      ...(options.wall === undefined
        ? []
        : checkExpiry(loaded.resource, options.wall)),
    ])
      findings.push(findingOf(loaded, problem));
  const inForce = new Map(
    [...known.values()].map((loaded) => [loaded.resource, loaded]),
  );
  for (const { about, path, message } of [
    ...conflicts(all).map((each) => ({ ...each, about: each.loser })),
    ...unreachableMatches(all).map((each) => ({ ...each, about: each.route })),
  ]) {
    const loaded = inForce.get(about);
    if (loaded !== undefined)
      findings.push(findingOf(loaded, { path, message, severity: "warning" }));
  }
  return { resources, findings: sorted(findings, files) };
}

/** "FILE:LINE:COLUMN: error: PATH: MESSAGE", as compilers print it. */
export function formatFinding(finding: Finding): string {
  const { file, line, column, severity, path, message } = finding;
  const field = path === "" ? "" : `${path}: `;
  return `${file}:${line}:${column}: ${severity}: ${field}${message}`;
}

function loadFile(
  { file, text }: SourceFile,
  options: LintOptions,
  resources: Located[],
  findings: Finding[],
): void {
  const parsed = parseDocuments(text, file);
  for (const problem of parsed.problems)
    findings.push({ ...problem, path: "", severity: "error" });
  for (const document of parsed.documents) {
    const locate: ParsedDocument["locate"] = (path, at) =>
      document.locate(path, at);
    const validation = validate(document.value, options);
    const problems = validation.ok ? validation.warnings : validation.problems;
    for (const problem of problems)
      findings.push(findingOf({ file, locate }, problem));
    if (validation.ok)
      resources.push({
        resource: validation.resource,
        file,
        ...document.locate(""),
        locate,
      });
  }
}

function findingOf(
  source: Pick<Located, "file" | "locate">,
  problem: Problem,
): Finding {
  return {
    file: source.file,
    ...source.locate(problem.path, problem.at),
    path: problem.path,
    message: problem.message,
    severity: problem.severity ?? "error",
  };
}

function sorted(
  findings: readonly Finding[],
  files: readonly SourceFile[],
): readonly Finding[] {
  const order = new Map(files.map(({ file }, index) => [file, index]));
  return [...findings].sort(
    (a, b) =>
      (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) ||
      a.line - b.line ||
      a.column - b.column,
  );
}
