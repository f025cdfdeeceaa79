/** The resources of `-f`: files, folders or standard input, each checked before anything is sent anywhere. */
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { messageOf, UserError } from "../core/errors.ts";
import {
  lintTexts,
  type Finding,
  type Located,
  type SourceFile,
} from "../resources/lint.ts";
import type { CliContext } from "./context.ts";

export interface Manifests {
  /** In the order of the files. */
  readonly resources: readonly Located[];
  readonly warnings: readonly Finding[];
}

const ENDINGS = [".yaml", ".yml", ".json"];

/** Reads all files; throws a UserError that lists every fault with file:line:column where there is one. */
export async function readManifests(
  context: CliContext,
  names: readonly string[],
): Promise<Manifests> {
  const { resources, findings } = lintTexts(await readTexts(context, names), {
    wall: context.clock.wall(),
  });
  const errors = findings.filter((finding) => finding.severity === "error");
  if (errors.length > 0)
    throw new UserError(errors.map(findingLine).join("\n"));
  return { resources, warnings: findings };
}

/** "shop.yaml:12:7: spec.rules[0].timeouts.request: …" */
export function findingLine(finding: Finding): string {
  const where = `${finding.file}:${finding.line}:${finding.column}`;
  return `${where}: ${finding.path === "" ? "" : `${finding.path}: `}${finding.message}`;
}

/** The texts of all files; a folder stands for the YAML and JSON files in it, by name. */
export async function readTexts(
  context: CliContext,
  names: readonly string[],
): Promise<SourceFile[]> {
  const texts: SourceFile[] = [];
  for (const name of names) {
    if (name === "-") {
      texts.push({ file: "<stdin>", text: await context.readInput() });
      continue;
    }
    for (const file of await filesOf(name)) {
      try {
        texts.push({ file, text: await readFile(file, "utf8") });
      } catch (error) {
        throw new UserError(`${file}: ${messageOf(error)}`);
      }
    }
  }
  return texts;
}

async function filesOf(name: string): Promise<string[]> {
  try {
    if (!(await stat(name)).isDirectory()) return [name];
  } catch (error) {
    throw new UserError(`${name}: ${messageOf(error)}`);
  }
  const entries = (await readdir(name))
    .filter((entry) => ENDINGS.includes(extname(entry)))
    .sort();
  if (entries.length === 0)
    throw new UserError(
      `${name}: no ${ENDINGS.join(", ")} file in this folder`,
    );
  return entries.map((entry) => join(name, entry));
}
