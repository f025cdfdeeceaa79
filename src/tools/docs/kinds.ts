/** `config/reference/kinds.md` and a page a kind: names, fields, defaults and an example, from the schemas. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { KindDefinition } from "../../resources/kind.ts";
import { KINDS } from "../../resources/registry.ts";
import {
  DNS_LABEL,
  DNS_NAME,
  DNS_NAME_OR_WILDCARD,
  DURATION,
  HEADER_NAME,
  HEADER_VALUE,
  LABEL_KEY,
  LABEL_VALUE,
  PORT,
} from "../../resources/schema-parts.ts";
import { VALUE_NAME } from "../../resources/telemetry/schema.ts";
import { fieldRows, type Schema } from "./kinds/fields.ts";
import { block, code, codes, sentence, table, type Page } from "./markdown.ts";

/** An example of each kind, by its name. A test lints them. */
export const EXAMPLES: string = join(
  import.meta.dirname,
  "..",
  "..",
  "..",
  "config",
  "examples",
  "kinds",
);

/** Types that have a name and are the same everywhere. */
const TYPES = [
  DNS_LABEL,
  DNS_NAME,
  DNS_NAME_OR_WILDCARD,
  PORT,
  DURATION,
  HEADER_NAME,
  HEADER_VALUE,
  LABEL_KEY,
  LABEL_VALUE,
  VALUE_NAME,
];

export function kindPages(): readonly Page[] {
  return [overview(), ...KINDS.map(kindPage)];
}

function overview(): Page {
  return {
    file: "kinds.md",
    title: "Kinds",
    body: `A resource has \`apiVersion\`, \`kind\`, \`metadata\` and \`spec\`. A field that a kind does not have is refused.

${table(
  [
    "kind",
    "what it is for",
    "apiVersion",
    "names on the command line",
    "scope",
  ],
  KINDS.map((kind) => [
    `[${kind.kind}](kinds/${kind.singular}.md)`,
    sentence(kind.meaning),
    code(kind.apiVersion),
    codes([kind.plural, kind.singular, ...kind.shortNames]),
    kind.namespaced ? "namespace" : "mesh",
  ]),
)}
## Types

${TYPES.map(({ title, expected }) => `### ${title}\n\n${sentence(expected)}\n`).join("\n")}
## Metadata

${fieldTable(schemaOf(KINDS.find(({ namespaced }) => namespaced)).properties?.["metadata"], "")}`,
  };
}

function kindPage(kind: KindDefinition): Page {
  const spec = schemaOf(kind).properties?.["spec"];
  return {
    file: `kinds/${kind.singular}.md`,
    title: kind.kind,
    body: `${sentence(kind.meaning)}

\`apiVersion: ${kind.apiVersion}\`. [All kinds](../kinds.md).

${block("yaml", readFileSync(join(EXAMPLES, `${kind.singular}.yaml`), "utf8"))}
## Fields of spec

${fieldTable(spec, "../kinds.md")}`,
  };
}

function fieldTable(schema: Schema | undefined, types: string): string {
  return table(
    ["field", "type", "default", "meaning"],
    fieldRows(schema ?? {}, types).map(({ path, type, fallback, meaning }) => [
      code(path),
      type,
      fallback,
      meaning,
    ]),
  );
}

function schemaOf(kind: KindDefinition | undefined): Schema {
  return kind?.schema ?? {};
}
