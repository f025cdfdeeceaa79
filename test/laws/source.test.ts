/** What laws 9 and 11 say of the source itself: who may name a status, and who may read the time. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { parse } from "yaml";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SRC = join(ROOT, "src");

/** The file's code without its comments; strings stay. */
function codeOf(file: string): string {
  return readFileSync(join(SRC, file), "utf8").replace(
    /\/\*[^]*?\*\/|(^|[^:"'`\\])\/\/[^\n]*/g,
    (_all, before: string | undefined) => before ?? "",
  );
}

function sources(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(SRC, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.[jt]s$/.test(name))
      .map((name) => join(folder, name)),
  );
}

/** The lines of `files` that match, as "FILE: LINE". */
function matches(files: readonly string[], pattern: RegExp): string[] {
  return files.flatMap((file) =>
    codeOf(file)
      .split("\n")
      .filter((line) => pattern.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
}

const CLOCK =
  /\b(?:setTimeout|setInterval|performance|hrtime|uptime)\b|\bDate\b|\bMath\.random\b|\bAbortSignal\.timeout\b|node:(?:timers|perf_hooks)/;
const STATUS =
  /\bstatus(?:Code)?\s*[:=]\s*[45][0-9]{2}\b|\b(?:writeHead|respond|row)\(\s*[45][0-9]{2}\b|HTTP\/1\.1 [45][0-9]{2}/;

void t.test(
  "law 11: nothing but core/clock.ts reads the time, sets a timer or draws a random number",
  (t) => {
    const files = sources(".").filter(
      (file) =>
        // What runs before there is a Node that could load the clock, and what builds the package.
        ![
          "core/clock.ts",
          "launch.js",
          "install-turn.js",
          "tools/build.js",
        ].includes(file),
    );
    t.ok(files.length > 200, `${files.length} files`);
    const found = matches(files, CLOCK).filter(
      // A type's name, and the words of a message, read no clock.
      (line) =>
        !/^\S+: (?:.*\bvalidToDate\b|.*"[^"]*\bDate\b[^"]*")/.test(line),
    );
    t.same(found, []);
    t.end();
  },
);

/** What compares times of the wall clock, and why no duration of this process hangs on it. */
const BY_DATES: Readonly<Record<string, string>> = {
  "agent/files/file-certificate.ts": "a certificate's dates",
  "agent/files/file-config.ts": "when a file was written",
  "cli/commands/audit.ts": "dates that were written down",
  "cli/commands/get.ts": "an age, to be read",
  "cli/commands/revoke.ts": "a date that is written down",
  "cli/commands/sidecar.ts": "an age, to be read",
  "control-plane/enrolment/bootstrap-tokens.ts": "a token's end",
  "control-plane/enrolment/enrolment-token.ts": "a token's end",
  "control-plane/enrolment/shown-certificates.ts": "certificates' dates",
  "control-plane/enrolment/token-use.ts": "a token's end",
  "control-plane/metrics.ts": "a certificate's end, to be read",
  "control-plane/own-credentials.ts": "a certificate's dates",
  "control-plane/push/listener.ts": "a certificate's end",
  "control-plane/registry/expiry.ts": "what a process before this one noted",
  "control-plane/tokens.ts": "a token's end",
  "core/clock.ts": "the two clocks, compared",
  "push/alarm.ts": "a date that is waited for",
  "sidecar/admin/pages.ts": "a certificate's end, to be read",
  "sidecar/workers/views.ts": "ages and ends, to be read",
};
const COMPARED = /\bwall\(\)\s*[-+<>]|(?:[-+<>]|<=|>=)\s*[\w.#]*\bwall\(\)/;

void t.test("law 11: a duration goes by the monotonic clock", (t) => {
  const found = matches(sources("."), COMPARED);
  const unknown = found.filter(
    (line) => BY_DATES[line.slice(0, line.indexOf(": "))] === undefined,
  );
  t.same(unknown, [], "measure with clock.now()");
  for (const file of Object.keys(BY_DATES))
    t.ok(
      found.some((line) => line.startsWith(`${file}: `)),
      `${file} does it still`,
    );
  for (const line of [
    "const age = clock.wall() - began;",
    "if (clock.wall() >= until) return;",
    "const left = end - this.#options.clock.wall();",
  ])
    t.match(line, COMPARED);
  t.notMatch("at: clock.wall(),", COMPARED);
  t.end();
});

/** JSON with comments and commas at the end: but for the comments, it is YAML. */
function linterConfig(): { readonly rules: Record<string, unknown> } {
  const text = readFileSync(join(ROOT, ".oxlintrc.jsonc"), "utf8");
  return parse(text.replaceAll(/^\s*\/\/.*$/gm, "")) as ReturnType<
    typeof linterConfig
  >;
}

void t.test("law 11: the scan and the linter know what they forbid", (t) => {
  for (const line of [
    "const now = Date.now();",
    "setTimeout(run, 1);",
    "Math.random()",
    "AbortSignal.timeout(5)",
    'import { setTimeout as sleep } from "node:timers/promises";',
  ])
    t.match(line, CLOCK);
  for (const line of [
    "clock.after(5, run)",
    "the date of it",
    "setImmediate(x)",
  ])
    t.notMatch(line, CLOCK);
  const { rules } = linterConfig();
  t.match(rules["no-restricted-globals"], [
    "error",
    ...["setTimeout", "setInterval", "Date", "performance"].map((name) => ({
      name,
    })),
  ]);
  t.match(rules["no-restricted-properties"], [
    "error",
    { object: "Math", property: "random" },
  ]);
  t.end();
});

void t.test(
  "law 9: no file of the data path but the table of reasons and the codecs' table of refusals names the status of a failure",
  (t) => {
    const allowed = ["mesh/reasons.ts", "wire/refusal.ts"];
    const files = sources("sidecar", "proxy", "wire", "policy", "mesh").filter(
      (file) => !allowed.includes(file),
    );
    t.same(matches(files, STATUS), []);
    for (const file of allowed)
      t.ok(matches([file], STATUS).length > 0, `${file} is there for it`);
    for (const line of [
      "{ status: 503 }",
      "response.statusCode = 404",
      "writeHead(500)",
    ])
      t.match(line, STATUS);
    t.notMatch("if (status === 429)", STATUS);
    t.end();
  },
);

/** What calls another process: by its URL, by its address or through a resolver. */
const CALLS_OUT =
  /\bfetch\(|\bhttps?2?\.(?:request|get|connect)\(|\b(?:connect|createConnection)\(|\bundici\b|node:(?:dns|dgram)|new (?:Client|Agent|Pool|Socket)\(/;

void t.test(
  "the control plane calls nobody but the issuer that its operator has named: no URL that a user wrote is fetched by it",
  (t) => {
    const issuer = "control-plane/issuer/issuer-client.ts";
    const all = sources("control-plane", "resources", "identity");
    const files = all.filter((file) => !file.endsWith(issuer));
    t.equal(files.length, all.length - 1);
    t.same(matches(files, CALLS_OUT), []);
    for (const line of [
      "await fetch(url)",
      "const response = http.request(url)",
      "const socket = connect({ host, port });",
      'import { request } from "undici";',
      'import { lookup } from "node:dns";',
      "new Client(address, credentials)",
    ])
      t.match(line, CALLS_OUT);
    for (const line of ["http.createServer(handler)", "lookup(key)"])
      t.notMatch(line, CALLS_OUT);
    t.end();
  },
);
