/** The files of `wherry test`: a table of requests, each with what is expected of it, beside the resources that it is about. */
import { glob } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { Ajv } from "ajv";
import Type from "typebox";
import { UserError } from "../../core/errors.ts";
import { parseTimestamp } from "../../core/clock.ts";
import type { Problem } from "../../resources/kind.ts";
import { lintTexts, type Finding, type Located } from "../../resources/lint.ts";
import { error } from "../../resources/problems.ts";
import { explain } from "../../resources/schema-errors.ts";
import { CLOSED, DURATION, KEYWORDS } from "../../resources/schema-parts.ts";
import { parseDocuments } from "../../resources/yaml.ts";
import type { ShadowEffect } from "../../policy/authorization/shadow.ts";
import type { AskedOrigin } from "../asked/origin.ts";
import type { CliContext } from "../context.ts";
import { findingLine, readTexts } from "../manifests.ts";

export interface TestFile {
  readonly file: string;
  readonly resources: readonly Located[];
  readonly warnings: readonly Finding[];
  /** Wall milliseconds that the tests take for now. */
  readonly wall: number;
  readonly tests: readonly CallTest[];
}

export interface CallTest {
  readonly name: string;
  readonly line: number;
  readonly request: {
    readonly method: string;
    readonly url: string;
    readonly headers: readonly (readonly [name: string, value: string])[];
    /** Claims of a verified token that it is taken to have. */
    readonly claims: Readonly<Record<string, unknown>> | undefined;
    /** "NAMESPACE/SERVICEACCOUNT"; undefined: a caller without a sidecar. */
    readonly from: string | undefined;
    /** "NAMESPACE/NAME" of the instance that takes it. */
    readonly workload: string | undefined;
  } & AskedOrigin;
  readonly expect: Expectation;
}

export interface Expectation {
  readonly allowed?: boolean;
  /** "NAMESPACE/NAME" of the policy that decides, or a reason. */
  readonly by?: string;
  readonly reason?: string;
  readonly status?: number;
  /** What a caller that speaks gRPC gets. */
  readonly grpcStatus?: number;
  readonly route?: string;
  /** Index in the route's spec, or its name there. */
  readonly rule?: number | string;
  /** The one that gets all, or each one's percentage. */
  readonly backend?: string | Readonly<Record<string, number>>;
  /** By "NAMESPACE/NAME" of a policy on trial, or of an AUDIT: what it would do. */
  readonly shadow?: Readonly<Record<string, ShadowEffect | "none">>;
  readonly retries?: number;
  readonly timeout?: string;
  readonly backendTimeout?: string;
  readonly location?: string;
  /** Path and query that the backend gets. */
  readonly path?: string;
  /** Among the header fields that the backend gets; null: it gets none of that name. */
  readonly headers?: Readonly<Record<string, string | null>>;
}

interface Written {
  readonly resources: readonly string[];
  readonly now?: string;
  readonly tests: readonly {
    readonly name?: string;
    readonly request: {
      readonly method?: string;
      readonly url: string;
      readonly headers?: Readonly<Record<string, string | readonly string[]>>;
      readonly claims?: Readonly<Record<string, unknown>>;
      readonly from?: string;
      readonly workload?: string;
    } & AskedOrigin;
    readonly expect: Expectation;
  }[];
}

const NAME = {
  pattern: "^[a-z0-9.-]+/[a-z0-9.-]+$",
  expected: "NAMESPACE/NAME",
};
const text = Type.Optional(Type.String({ minLength: 1 }));
const name = Type.Optional(Type.String(NAME));

const SCHEMA = Type.Object(
  {
    resources: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
    now: Type.Optional(
      Type.String({
        pattern:
          "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?Z$",
        expected: 'a time such as "2026-12-01T00:00:00Z"',
      }),
    ),
    tests: Type.Array(
      Type.Object(
        {
          name: text,
          request: Type.Object(
            {
              method: text,
              url: Type.String({ minLength: 1 }),
              headers: Type.Optional(
                Type.Record(
                  Type.String(),
                  Type.Unsafe({
                    anyOf: [
                      { type: "string" },
                      { type: "array", items: { type: "string" }, minItems: 1 },
                    ],
                    expected: "text, or a list of texts",
                  }),
                ),
              ),
              claims: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
              from: name,
              fromIp: text,
              serverName: Type.Optional(Type.String()),
              trustedProxies: Type.Optional(
                Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
              ),
              workload: name,
            },
            CLOSED,
          ),
          expect: Type.Object(
            {
              allowed: Type.Optional(Type.Boolean()),
              by: text,
              reason: text,
              status: Type.Optional(
                Type.Integer({ minimum: 100, maximum: 599 }),
              ),
              grpcStatus: Type.Optional(
                Type.Integer({ minimum: 1, maximum: 16 }),
              ),
              route: name,
              rule: Type.Optional(
                Type.Unsafe({
                  type: ["integer", "string"],
                  expected: "the index of a rule, or its name",
                }),
              ),
              backend: Type.Optional(
                Type.Unsafe({
                  type: ["string", "object"],
                  additionalProperties: {
                    type: "number",
                    minimum: 0,
                    maximum: 100,
                  },
                  expected:
                    "SERVICE.NAMESPACE:PORT, or a percentage for each such",
                }),
              ),
              shadow: Type.Optional(
                Type.Record(
                  Type.String(NAME),
                  Type.Enum(["refused", "admitted", "matched", "none"]),
                ),
              ),
              retries: Type.Optional(Type.Integer({ minimum: 0 })),
              timeout: Type.Optional(Type.String(DURATION)),
              backendTimeout: Type.Optional(Type.String(DURATION)),
              location: text,
              path: text,
              headers: Type.Optional(
                Type.Record(
                  Type.String(),
                  Type.Unsafe({
                    type: ["string", "null"],
                    expected: "text, or null for a field that is not sent",
                  }),
                ),
              ),
            },
            { ...CLOSED, minProperties: 1 },
          ),
        },
        CLOSED,
      ),
      { minItems: 1 },
    ),
  },
  CLOSED,
);

const accepts = new Ajv({
  allErrors: true,
  verbose: true,
  strictTypes: false,
  allowUnionTypes: true,
  keywords: [...KEYWORDS],
}).compile<Written>(SCHEMA);

/** Throws UserError that lists every fault as FILE:LINE:COLUMN. */
export async function readTestFile(
  context: CliContext,
  file: string,
): Promise<TestFile> {
  const { written, lineOf } = await readWritten(context, file);
  const wall =
    written.now === undefined
      ? context.clock.wall()
      : parseTimestamp(written.now);
  const { resources, findings } = lintTexts(
    await readTexts(context, await filesOf(file, written.resources)),
    { wall },
  );
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length > 0)
    throw new UserError(errors.map(findingLine).join("\n"));
  return {
    file,
    resources,
    warnings: findings,
    wall,
    tests: written.tests.map((test, index) =>
      callTest(test, lineOf(`tests[${index}]`)),
    ),
  };
}

/** The file as it is written, once its schema accepts it; and the line of what is at a path in it. */
async function readWritten(
  context: CliContext,
  file: string,
): Promise<{ written: Written; lineOf: (path: string) => number }> {
  const [source] = await readTexts(context, [file]);
  const { documents, problems } = parseDocuments(source?.text ?? "", file);
  const [document, second] = documents;
  if (problems.length > 0)
    throw new UserError(
      problems
        .map((each) => findingLine({ ...each, path: "", severity: "error" }))
        .join("\n"),
    );
  if (document === undefined || second !== undefined)
    throw new UserError(
      `${file}: expected one document with resources and tests`,
    );
  const { value } = document;
  const refusal = (faults: readonly Problem[]): UserError =>
    new UserError(
      faults
        .map(({ path, message, at }) =>
          findingLine({
            file,
            ...document.locate(path, at),
            path,
            message,
            severity: "error",
          }),
        )
        .join("\n"),
    );
  if (!accepts(value))
    throw refusal(explain(accepts.errors ?? [], value, { unsupported: {} }));
  const faults = faultsOfTime(value);
  if (faults.length > 0) throw refusal(faults);
  return { written: value, lineOf: (path) => document.locate(path).line };
}

function faultsOfTime({ now }: Written): Problem[] {
  return now !== undefined && Number.isNaN(parseTimestamp(now))
    ? [error(["now"], "is a date that the calendar does not have")]
    : [];
}

function callTest(
  { name, request, expect }: Written["tests"][number],
  line: number,
): CallTest {
  const { method = "GET", url, headers = {}, ...rest } = request;
  const { claims, from, workload, ...origin } = rest;
  return {
    name: name ?? `${method} ${url}`,
    line,
    request: {
      method,
      url,
      headers: Object.entries(headers).flatMap(([field, values]) =>
        [values].flat().map((each) => [field, each] as const),
      ),
      claims,
      from,
      workload,
      ...origin,
    },
    expect,
  };
}

/** The paths and patterns are relative to the file that they are in. */
async function filesOf(
  file: string,
  patterns: readonly string[],
): Promise<string[]> {
  const found = new Set<string>();
  for (const pattern of patterns) {
    const before = found.size;
    const matches: string[] = [];
    for await (const match of glob(resolve(dirname(file), pattern)))
      matches.push(relative("", match));
    for (const match of matches.sort()) found.add(match);
    if (found.size === before && matches.length === 0)
      throw new UserError(
        `${file}: resources: no file matches "${pattern}"; it is relative to the file's own folder`,
      );
  }
  return [...found];
}
