// Each call of the machine that the source makes fails once, at a start and while it serves: the process lives, and all is well again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { callSites } from "../support/faults/injected/call-sites.ts";
import { cleanEnvironment, ROOT } from "../support/processes/demo.ts";

const FOLDER = join(ROOT, "test", "support", "faults", "injected");

interface Life {
  /** What nobody caught. */
  readonly uncaught: readonly string[];
  /** Why parts did not start. */
  readonly starts: readonly string[];
  /** What was not well in the last round, and at the end. */
  readonly bad: readonly string[];
  readonly ends: readonly string[];
}

/** What this life does not come to: "FILE FUNCTION", how many calls, and why. */
const UNREACHED: readonly (readonly [
  why: string,
  ...calls: readonly (readonly [call: string, count: number])[],
])[] = [
  [
    "a sidecar without a control plane: test/agent/files",
    ["agent/files/file-certificate.ts readFile", 1],
    ["agent/files/read-in-thread.ts Worker", 1],
    ["agent/files/look.ts opendir", 1],
    ["agent/files/look.ts stat", 2],
    ["agent/files/read-resources.ts readFile", 1],
    ["agent/files/watch-files.ts watch", 1],
  ],
  [
    "a process that takes over: test/sidecar/handover",
    ["agent/disk-follower.ts stat", 1],
    ["runtime/unix/pass-descriptors.ts closeSync", 1],
    ["sidecar/handover/messages.ts closeSync", 1],
    ["sidecar/handover/messages.ts openSync", 1],
    ["sidecar/handover/offer.ts chmod", 1],
  ],
  [
    "what was left by a process that was killed: test/agent, test/control-plane/authority",
    ["agent/state-directory.ts readdir", 1],
    ["agent/state-directory.ts rm", 1],
    ["control-plane/authority/files.ts closeSync", 1],
    ["control-plane/authority/files.ts fsyncSync", 1],
    ["control-plane/authority/files.ts renameSync", 1],
    ["control-plane/authority/succession.ts readFileSync", 1],
    ["control-plane/authority/succession.ts readdirSync", 1],
    ["control-plane/authority/succession.ts renameSync", 3],
    ["control-plane/authority/succession.ts rmSync", 1],
    ["control-plane/authority/succession.ts rmdirSync", 1],
    ["core/directory.ts chmod", 1],
  ],
  [
    "what a command does before anything serves, or at its end",
    ["core/local/local-token.ts access", 1],
    ["core/local/local-token.ts link", 1],
    ["core/local/local-token.ts rm", 1],
    ["core/local/local-token.ts writeFile", 1],
    ["core/local/port-owner.ts readFile", 1],
    ["core/local/port-owner.ts stat", 1],
    ["core/secret-file.ts open", 1],
    ["runtime/last-resort.ts writeFileSync", 1],
    ["runtime/package.ts readFile", 1],
    ["runtime/package.ts readFileSync", 1],
    ["runtime/package.ts readdir", 1],
    ["runtime/process-life.ts readFileSync", 1],
    ["runtime/program-pages.ts readFileSync", 1],
    ["runtime/program.ts access", 1],
    ["runtime/program.ts stat", 1],
  ],
  [
    "what is configured: TLS outside, health checks, several threads, spans of the API, keys of issuers",
    ["control-plane/tracing.ts hostname", 1],
    ["proxy/downstream/port-lock.ts connect", 1],
    ["proxy/upstream/cluster/health-check.ts connect", 1],
    ["runtime/fetch/host-lookups.ts lookup", 1],
    ["sidecar/workers/worker-pool.ts Worker", 1],
    ["wire/tls/connect-outside.ts connect", 1],
    ["wire/tls/outside-context.ts readFile", 2],
    ["wire/tls/outside-context.ts stat", 2],
  ],
  [
    "an answer that is cut, a log that is not read",
    ["core/machine/log-lines.ts openSync", 1],
    ["proxy/dns/name-servers.ts connect", 1],
    ["telemetry/line-file.ts writeSync", 1],
  ],
  [
    "cannot be wrapped; the calls on it fail",
    ["control-plane/store/sqlite-file.ts DatabaseSync", 1],
  ],
];

void t.test("each call of the machine fails once", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "wherry-injected-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const inject = pathToFileURL(join(FOLDER, "inject.ts")).href;
  const child = spawn(
    process.execPath,
    ["--import", inject, join(FOLDER, "life.ts")],
    {
      env: cleanEnvironment({ WHERRY_INJECTED: directory }),
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  t.teardown(() => child.kill("SIGKILL"));
  let printed = "";
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(child, "close");
  t.equal(child.exitCode, 0, said);
  const { uncaught, starts, bad, ends } = JSON.parse(printed) as Life;
  t.same(uncaught, [], "nothing is left to nobody");
  t.same(bad, [], "all is well in the end");
  t.same(ends, [], "and it ends in order");
  for (const start of starts)
    t.match(start, /made by a test/, "a start says why");

  const failed = readFileSync(join(directory, "failed"), "utf8").split("\n");
  t.ok(failed.length > 120, `${failed.length} calls failed`);
  const reached = new Set(failed.map((line) => line.split(" ")[1]));
  const counts = new Map<string, string[]>();
  for (const { at, name } of callSites())
    if (!reached.has(at)) {
      const key = `${at.split(":")[0] ?? ""} ${name}`;
      counts.set(key, [...(counts.get(key) ?? []), at]);
    }
  const known = new Map(UNREACHED.flatMap(([, ...calls]) => calls));
  for (const [key, places] of counts)
    t.ok(
      places.length <= (known.get(key) ?? 0),
      `${key} fails nowhere: ${places.join(", ")}. Have life.ts come to it, or say why not`,
    );
});
