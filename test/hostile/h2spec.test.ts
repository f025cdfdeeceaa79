/** The public conformance suite for HTTP/2 (h2spec, 145 cases) against the link's codec on a plain listener. */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import type { ServerStream } from "../../src/wire/exchange.ts";
import { makeField } from "../../src/wire/fields.ts";
import { serveHttp2 } from "../../src/wire/http2/server.ts";

/** Cases that are known to fail, each with the reason. The aim is that there are none. */
const KNOWN_DIFFERENCES: ReadonlyMap<string, string> = new Map();
const CASES = 145;

/** WHERRY_TOOLS is a directory of tools; PATH comes after it. */
function findTool(name: string): string | undefined {
  const { WHERRY_TOOLS: tools, PATH: path = "" } = process.env;
  for (const directory of [tools ?? "", ...path.split(delimiter)]) {
    if (directory === "") continue;
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** Answers 200 with what was sent, or with a line of text. */
function answer(stream: ServerStream): void {
  stream.receive({
    data: (chunk) => void stream.write(chunk),
    end: () => stream.end(),
    abort: () => undefined,
    drained: () => undefined,
  });
  const fields = [makeField("content-type", "text/plain")];
  stream.respond({ status: 200, fields, contentLength: undefined }, false);
  if (stream.head.method !== "POST") stream.write(Buffer.from("wherry\n"));
  if (stream.ended) stream.end();
}

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

function run(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: 110_000 }, (error, stdout) => {
      // It exits with 1 when a case fails: the report tells which.
      if (error !== null && stdout === "")
        reject(new Error(`${file} did not run`, { cause: error }));
      else resolve(stdout);
    });
  });
}

const tool = findTool("h2spec");
const MISSING = "h2spec is neither in WHERRY_TOOLS nor on PATH";
const required = process.env["WHERRY_REQUIRE"] === "all";
const skip = tool === undefined && !required ? MISSING : false;

void t.test("passes every case of h2spec", { skip }, async (t) => {
  if (tool === undefined) {
    t.fail(MISSING);
    return;
  }
  const refused: string[] = [];
  const server = createServer((socket) => {
    serveHttp2(
      socket,
      {
        clock: systemClock,
        info: {
          protocol: "h2",
          peer: undefined,
          remoteAddress: socket.remoteAddress ?? "",
          remotePort: socket.remotePort ?? 0,
          originalDestination: undefined,
        },
      },
      {
        request: answer,
        refused: (code, detail) => refused.push(`${code}: ${detail}`),
      },
    );
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve()),
  );
  const { port } = server.address() as AddressInfo;
  const directory = await mkdtemp(join(tmpdir(), "h2spec-"));
  t.teardown(async () => {
    server.close();
    await rm(directory, { recursive: true });
  });
  const report = join(directory, "report.xml");
  const output = await run(tool, [
    ...["-h", "127.0.0.1", "-p", String(port), "--timeout", "2"],
    ...["--junit-report", report],
  ]);
  const cases = readReport(await readFile(report, "utf8"));
  const failed = cases.filter(({ outcome }) => outcome !== "passed");
  t.comment(output.trim().split("\n").at(-1) ?? "");
  t.equal(cases.length, CASES, "every case ran");
  t.strictSame(
    failed.map(({ name }) => name).filter((it) => !KNOWN_DIFFERENCES.has(it)),
    [],
    "no case fails that is not a known difference",
  );
  t.ok(refused.length > 0, "malformed requests were reported with a reason");
});
