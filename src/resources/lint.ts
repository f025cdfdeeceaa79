/** Everything that can be said of a set of files without a control plane, with file, line and column. */
import { atOnce } from "../core/slices.ts";
import type { WallMs } from "../core/units.ts";
import { formatKey, keyOf, type Resource } from "./envelope.ts";
import type { Problem } from "./kind.ts";
import { checkTogether } from "./cross-checks/check-together.ts";
import type { Lookup } from "./cross-checks/references.ts";
import { validate, type ValidateOptions } from "./validate.ts";
import { parseDocuments, type ParsedDocument, type Position } from "./yaml.ts";

export interface Finding extends Position {
  readonly file: string;
  /** Path of the field; "" for the document or its syntax. */
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
  for (const source of files) {
    const read = readDocuments(source, options);
    for (const each of read.resources) resources.push(each);
    for (const each of read.findings) findings.push(each);
  }
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
  const checking = checkTogether([...known.values()], lookup, options.wall);
  for (const { about, problem } of atOnce(checking))
    findings.push(findingOf(about, problem));
  return { resources, findings: sorted(findings, files) };
}

/** "FILE:LINE:COLUMN: error: PATH: MESSAGE", as compilers print it. */
export function formatFinding(finding: Finding): string {
  const { file, line, column, severity, path, message } = finding;
  const field = path === "" ? "" : `${path}: `;
  return `${file}:${line}:${column}: ${severity}: ${field}${message}`;
}

/** Parses a text, and validates each of its documents by itself. */
export function readDocuments(
  { file, text }: SourceFile,
  options: ValidateOptions = {},
): { readonly resources: Located[]; readonly findings: Finding[] } {
  const resources: Located[] = [];
  const parsed = parseDocuments(text, file);
  const findings = parsed.problems.map((problem): Finding => ({
    ...problem,
    path: "",
    severity: "error",
  }));
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
  return { resources, findings };
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
