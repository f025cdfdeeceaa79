/** The public conformance suite for HTTP/2 (h2spec, 145 cases) against a running sidecar: its plain listener, and the link as a peer with a certificate sees it. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { withPair } from "../support/meshes/pair.ts";
import { findTool, needs } from "../support/processes/tools.ts";
import {
  linkListener,
  PLAIN_LISTENER,
  plainListener,
} from "../support/hostile/h2spec-listeners.ts";

/**
 * Cases whose outcome depends on timing rather than on what we do, each with the reason why. There are none: where h2spec takes
 * either of two reactions we show the same one each time, and a late frame that it might miss is one of its own time-outs.
 */
const RACY: ReadonlyMap<string, string> = new Map();
const CASES = 145;

interface Case {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

/** Reads the JUnit report, as far as h2spec writes it. */
function readReport(xml: string): Case[] {
  const cases: Case[] = [];
  const pattern =
    /<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs;
  for (const [, section, title, content = ""] of xml.matchAll(pattern))
    cases.push({
      name: `${section ?? ""}: ${title ?? ""}`,
      outcome: /<(failure|error)/.test(content)
        ? "failed"
        : content.includes("<skipped")
          ? "skipped"
          : "passed",
    });
  return cases;
}

/** Runs all cases against a port of this machine. */
async function h2spec(
  tool: string,
  port: number,
): Promise<{ readonly cases: Case[]; readonly summary: string }> {
  const directory = await mkdtemp(join(tmpdir(), "h2spec-"));
  const report = join(directory, "report.xml");
  try {
    const output = await new Promise<string>((resolve, reject) => {
      execFile(
        tool,
        [
          ...["-h", "127.0.0.1", "-p", String(port), "--timeout", "2"],
          ...["--junit-report", report],
        ],
        { timeout: 110_000 },
        (error, stdout) => {
          // It exits with 1 when a case fails: the report tells which.
          if (error !== null && stdout === "")
            reject(new Error(`${tool} did not run`, { cause: error }));
          else resolve(stdout);
        },
      );
    });
    return {
      cases: readReport(await readFile(report, "utf8")),
      summary: output.trim().split("\n").at(-1) ?? "",
    };
  } finally {
    await rm(directory, { recursive: true });
  }
}

const tool = findTool("h2spec");
const missing = needs(tool === undefined ? ["h2spec"] : []);

void t.test("passes every case of h2spec", missing, async (t) => {
  if (tool === undefined) {
    t.fail("h2spec is neither in WHERRY_TOOLS nor on PATH");
    return;
  }
  await withPair(
    {
      caller: { accessLog: "none", upstream: [PLAIN_LISTENER] },
      callee: { accessLog: "none" },
    },
    async (pair) => {
      const listeners = [
        ["the plain listener", plainListener(pair)],
        ["the link", await linkListener(pair)],
      ] as const;
      for (const [name, listener] of listeners) {
        const { cases, summary } = await h2spec(tool, listener.port);
        t.comment(`${name}: ${summary}`);
        t.equal(cases.length, CASES, `${name}: every case ran`);
        t.strictSame(
          cases
            .filter(
              ({ outcome, name }) => outcome !== "passed" && !RACY.has(name),
            )
            .map(({ name, outcome }) => `${name}: ${outcome}`),
          [],
          `${name}: every case passes`,
        );
        listener.close();
      }
    },
  );
});
