/** A public property-based tester (schemathesis) against the REST API: requests made from the OpenAPI document, valid and not. */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import {
  startControlPlane,
  type ControlPlane,
} from "../../src/control-plane/control-plane.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { schemathesisConfig } from "../support/control-plane/schemathesis-config.ts";
import { drawn } from "../support/drawn.ts";
import { findTool, needs } from "../support/processes/tools.ts";

interface KnownDifference {
  readonly check: string;
  /** "METHOD /path/template" */
  readonly operation: RegExp;
  readonly status: number;
  /** Of the Status that was answered. */
  readonly reason: string;
  /** The field that the answer has to blame in its causes. */
  readonly blames?: RegExp;
  readonly why: string;
}

/** Where the tool expects something else than what is meant, each with the reason. */
const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    check: "positive_data_acceptance",
    operation: /^GET \/apis\//,
    status: 400,
    reason: "BadRequest",
    blames: /^labelSelector$/,
    why: "a selector has a grammar of its own; for the schema it is any text",
  },
  {
    check: "positive_data_acceptance",
    operation: /^GET \/apis\//,
    status: 410,
    reason: "Expired",
    why: "a watch starts from a version that this store has in its history; the schema can only say that it is a number",
  },
  {
    check: "positive_data_acceptance",
    operation: /^((POST|PUT|PATCH) \/apis\/|POST \/(apply|delete)$)/,
    status: 422,
    reason: "Invalid",
    blames: /^/,
    why: "a resource keeps rules that no schema states: its name and namespace are those of the URL, durations have bounds, names do not repeat, fields go together, a patched resource is still a valid one",
  },
  {
    check: "positive_data_acceptance",
    operation: /^POST \/tokens\/enrolment$/,
    status: 422,
    reason: "Invalid",
    blames: /^addresses\[/,
    why: "an address or a range has a grammar of its own; the schema knows its characters",
  },
  {
    check: "negative_data_rejection",
    operation: /^GET \//,
    status: 431,
    reason: "RequestHeaderFieldsTooLarge",
    why: "a query beyond the limit of a request's head is refused before it is looked at; the tool does not count 431 as a refusal",
  },
];

const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "negative_data_rejection",
  "positive_data_acceptance",
  "missing_required_header",
  "unsupported_method",
  "allow_header_conformance",
  "use_after_free",
  "ensure_resource_availability",
  "ignored_auth",
];

/** The tool reads its document there, and does not call it again. */
const DOCUMENT = "GET /openapi.json";

const SEED = 1;
/**
 * Requests that the tool draws of each operation, besides those that it enumerates. It is given no time to be done in: a busy machine
 * would take operations from its end.
 */
const EXAMPLES = drawn("WHERRY_SCHEMATHESIS_EXAMPLES", 1, 30);
/** Milliseconds after which the tool is ended. */
const DEADLINE = 500_000;
/** Bytes that the process may grow by while thousands of requests pass. */
const MOST_GROWTH = 256 * 1024 * 1024;

const SERVICES = "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services";

/** What is read of the tool's event report, one JSON object a line. */
interface ReportLine {
  readonly ScenarioFinished?: {
    readonly recorder: {
      readonly cases?: Readonly<Record<string, { readonly value: Case }>>;
      readonly checks?: Readonly<Record<string, readonly Check[]>>;
      readonly interactions?: Readonly<Record<string, Interaction>>;
    };
  };
  /** The tool could not go on with an operation: a request without an answer, most of all. */
  readonly NonFatalError?: {
    readonly label: string;
    readonly value: { readonly type: string; readonly message: string };
  };
}

interface Case {
  readonly method: string;
  readonly path: string;
}

interface Check {
  readonly name: string;
  readonly status: "success" | "failure";
  readonly failure_info?: { readonly failure: { readonly message: string } };
}

interface Interaction {
  readonly request: { readonly uri: string };
  readonly response: {
    readonly status_code: number;
    readonly content?: { readonly $base64: string };
  } | null;
}

interface Outcome {
  readonly cases: number;
  readonly operations: ReadonlySet<string>;
  readonly checks: ReadonlySet<string>;
  /** Methods that were answered with success. */
  readonly succeeded: ReadonlySet<string>;
  readonly statuses: ReadonlySet<number>;
  /** Failures that are no known difference, and errors of the tool. */
  readonly findings: readonly string[];
  /** How often each known difference was met. */
  readonly known: ReadonlyMap<KnownDifference, number>;
}

async function judge(file: string): Promise<Outcome> {
  const operations = new Set<string>();
  const checks = new Set<string>();
  const succeeded = new Set<string>();
  const statuses = new Set<number>();
  const findings: string[] = [];
  const known = new Map<KnownDifference, number>();
  let cases = 0;
  for await (const text of createInterface({ input: createReadStream(file) })) {
    const line = JSON.parse(text) as ReportLine;
    const error = line.NonFatalError;
    if (error !== undefined)
      findings.push(
        `${error.label}: ${error.value.type}: ${error.value.message}`,
      );
    const recorder = line.ScenarioFinished?.recorder;
    for (const [id, { value }] of Object.entries(recorder?.cases ?? {})) {
      cases += 1;
      const operation = `${value.method} ${value.path}`;
      operations.add(operation);
      const interaction = recorder?.interactions?.[id];
      const status = interaction?.response?.status_code ?? 0;
      statuses.add(status);
      if (status >= 200 && status < 300) succeeded.add(value.method);
      for (const check of recorder?.checks?.[id] ?? []) {
        checks.add(check.name);
        if (check.status === "success") continue;
        const difference = differenceOf(check.name, operation, interaction);
        if (difference === undefined)
          findings.push(describe(check, operation, interaction));
        else known.set(difference, (known.get(difference) ?? 0) + 1);
      }
    }
  }
  return { cases, operations, checks, succeeded, statuses, findings, known };
}

function differenceOf(
  check: string,
  operation: string,
  interaction: Interaction | undefined,
): KnownDifference | undefined {
  const status = statusIn(interaction);
  return KNOWN_DIFFERENCES.find(
    (known) =>
      known.check === check &&
      known.operation.test(operation) &&
      known.status === interaction?.response?.status_code &&
      known.reason === status.reason &&
      (known.blames === undefined ||
        (status.fields.length > 0 &&
          status.fields.every((field) => known.blames?.test(field)))),
  );
}

/** Of a Kubernetes Status; empty where the answer is none. */
function statusIn(interaction: Interaction | undefined): {
  readonly reason: string;
  readonly fields: readonly string[];
} {
  try {
    const { reason = "", details } = JSON.parse(textOf(interaction)) as {
      readonly reason?: string;
      readonly details?: { readonly causes: readonly { field: string }[] };
    };
    return { reason, fields: (details?.causes ?? []).map((it) => it.field) };
  } catch {
    return { reason: "", fields: [] };
  }
}

function textOf(interaction: Interaction | undefined): string {
  const content = interaction?.response?.content?.$base64 ?? "";
  return Buffer.from(content, "base64").toString();
}

function describe(
  check: Check,
  operation: string,
  interaction: Interaction | undefined,
): string {
  const message = check.failure_info?.failure.message ?? "";
  return `${check.name}: ${operation}: ${interaction?.request.uri ?? ""} was answered ${interaction?.response?.status_code ?? "nothing"}: ${message}: ${textOf(interaction).slice(0, 500)}`;
}

interface Run {
  readonly stdout: string;
  /** 0 without failures, 1 with some, anything else where the tool did not get to its end. */
  readonly code: unknown;
}

function run(file: string, args: readonly string[], cwd: string): Promise<Run> {
  return new Promise((resolve) => {
    execFile(
      file,
      args,
      {
        cwd,
        timeout: DEADLINE,
        maxBuffer: 64 * 1024 * 1024,
        env: { ...process.env, NO_PROXY: "127.0.0.1" },
      },
      (error, stdout, stderr) =>
        resolve({
          stdout: stdout + stderr,
          code: error === null ? 0 : (error.code ?? error.signal),
        }),
    );
  });
}

async function call(
  { apiUrl }: ControlPlane,
  token: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; json: unknown }> {
  const answer = await fetch(`${apiUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, json: await answer.json() };
}

/** "METHOD /path/template" of everything that the document has. */
async function documented(running: ControlPlane): Promise<string[]> {
  const { json } = await call(running, "", "GET", "/openapi.json");
  const { paths } = json as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}

const tool = findTool("schemathesis");
const MISSING = "schemathesis is neither in WHERRY_TOOLS nor on PATH";

void t.test(
  "the API keeps to its OpenAPI document, whatever is sent to it",
  needs(tool === undefined ? ["schemathesis"] : []),
  async (t) => {
    if (tool === undefined) {
      t.fail(MISSING);
      return;
    }
    const directory = t.testdir();
    const running = await startControlPlane({
      stateDirectory: join(directory, "state"),
      store: "memory",
      trustDomain: "cluster.local",
      api: { host: "127.0.0.1", port: 0 },
      push: { host: "127.0.0.1", port: 0 },
      clock: systemClock,
      logger: silentLogger,
      profile: "development",
    });
    t.teardown(() => running.close());
    const token = (await readFile(running.adminTokenFile, "utf8")).trim();
    // The one kind of which a random one is hardly ever valid.
    const created = await call(running, token, "POST", SERVICES, {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Service",
      metadata: { name: "orders" },
      spec: { ports: [{ port: 80 }], selector: { app: "orders" } },
    });
    t.equal(created.status, 201);
    const config = join(directory, "schemathesis.toml");
    await writeFile(config, schemathesisConfig(token, running.store.id), {
      mode: 0o600,
    });
    const report = join(directory, "events.ndjson");
    const operations = await documented(running);
    const before = process.memoryUsage().rss;

    const { stdout, code } = await run(
      tool,
      [
        ...["--config-file", config, "--no-color", "run"],
        ...[`${running.apiUrl}/openapi.json`, "--checks", CHECKS.join(",")],
        ...["--seed", String(SEED), "--max-examples", String(EXAMPLES)],
        ...["--request-timeout", "10", "--continue-on-failure"],
        ...["--no-shrink", "--generation-database", "none"],
        ...["--suppress-health-check", "all", "--warnings", "off"],
        ...["--report", "ndjson", "--report-ndjson-path", report],
      ],
      directory,
    );

    // In KiB; the highest of the whole life of this process, which had nothing larger to do before.
    const peak = process.resourceUsage().maxRSS * 1024;
    t.ok(code === 0 || code === 1, `it came to its end\n${tail(stdout)}`);
    const outcome = await judge(report);
    t.comment(
      `${outcome.cases} requests, ${(peak - before) >> 20} MiB more memory`,
    );
    for (const [difference, count] of outcome.known)
      t.comment(
        `${count} × ${difference.check} ${difference.status}: ${difference.why}`,
      );
    t.strictSame(outcome.findings.slice(0, 20), [], "nothing unexpected");
    t.strictSame(
      operations.filter(
        (operation) =>
          operation !== DOCUMENT && !outcome.operations.has(operation),
      ),
      [],
      "every operation of the document was called",
    );
    t.strictSame(
      CHECKS.filter((check) => !outcome.checks.has(check)),
      [],
      "every check was made",
    );
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"])
      t.ok(outcome.succeeded.has(method), `some ${method} was let through`);
    // 405 and 415 are held by a test of the API.
    for (const status of [400, 401, 404, 422])
      t.ok(outcome.statuses.has(status), `some request was answered ${status}`);
    t.ok(peak - before < MOST_GROWTH, "memory stays bounded");
    const after = await call(running, token, "GET", "/status");
    t.equal(after.status, 200, "it still serves its administrator");
  },
);

function tail(output: string): string {
  return output.trim().split("\n").slice(-15).join("\n");
}
