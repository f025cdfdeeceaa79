/** Where a thread begins that parses large documents: it answers one question after the other. */
import { parentPort } from "node:worker_threads";
import { readDocuments, type Finding } from "../../resources/lint.ts";
import type { Position } from "../../resources/yaml.ts";
import type { Answers, Portion, Question, Wanted } from "./large-texts.ts";

/** Characters, and findings, of one answer: the event loop takes them at once. */
const MOST_TEXT = 32 * 1024;
const MOST_FINDINGS = 100;
/** Findings that are reported of one text; the rest are counted. */
const MOST_TOLD = 1000;

const port = parentPort;
if (port === null) throw new Error("this file is the beginning of a thread");

interface Parsed {
  readonly resources: ReturnType<typeof readDocuments>["resources"];
  readonly findings: readonly Finding[];
  /** What was told of them so far. */
  readonly told: { resources: number; findings: number };
}

let parsed: Parsed = parse(new Uint8Array());

port.on("message", (question: Question) => {
  port.postMessage(answerTo(question));
});

function answerTo(question: Question): Answers[keyof Answers] {
  switch (question.ask) {
    case "parse":
      parsed = parse(question.text);
      return undefined;
    case "more":
      return next(parsed);
    case "locate":
      return positionOf(parsed, question.wanted);
  }
}

function parse({ buffer, byteOffset, byteLength }: Uint8Array): Parsed {
  const text = Buffer.from(buffer, byteOffset, byteLength).toString("utf8");
  const { resources, findings } = readDocuments({ file: "", text });
  return {
    resources,
    findings: atMost(findings),
    told: { resources: 0, findings: 0 },
  };
}

function atMost(findings: readonly Finding[]): readonly Finding[] {
  const last = findings[MOST_TOLD];
  if (last === undefined) return findings;
  const message = `and ${findings.length - MOST_TOLD} more in this document`;
  return [...findings.slice(0, MOST_TOLD), { ...last, path: "", message }];
}

function next({ resources, findings, told }: Parsed): Portion {
  const texts: string[] = [];
  for (
    let size = 0;
    size < MOST_TEXT && told.resources < resources.length;
    told.resources += 1
  ) {
    const json = JSON.stringify(resources[told.resources]?.resource);
    texts.push(json);
    size += json.length;
  }
  const some = findings.slice(told.findings, told.findings + MOST_FINDINGS);
  told.findings += some.length;
  const more =
    told.resources < resources.length || told.findings < findings.length;
  return { resources: texts, findings: some, more };
}

function positionOf(
  { resources }: Parsed,
  { index, path, at }: Wanted,
): Position {
  return resources[index]?.locate(path, at) ?? { line: 1, column: 1 };
}
