/** Every field that the kinds' schemas have, and every value of an enumeration, as the table of push schemas names them. */
import type { KindDefinition } from "../../../src/resources/kind.ts";

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
}

/** "HTTPRoute spec.rules[].filters[]", and "HTTPRoute spec.rules[].filters[].type=CORS". */
export function fieldsOf(
  kinds: readonly Pick<KindDefinition, "kind" | "schema">[],
): readonly string[] {
  return kinds.flatMap(({ kind, schema }) =>
    Object.entries((schema as Schema).properties ?? {})
      .filter(([name]) => name === "spec" || name === "metadata")
      .flatMap(([name, part]) => [...below(part, name)])
      .map((path) => `${kind} ${path}`)
      .concat(kind),
  );
}

function* below(schema: Schema, path: string): Generator<string> {
  for (const value of schema.enum ?? []) yield `${path}=${String(value)}`;
  if (schema.items !== undefined) yield* below(schema.items, `${path}[]`);
  const named = Object.entries(schema.properties ?? {});
  const any = Object.values(schema.patternProperties ?? {});
  for (const [name, part] of [
    ...named,
    ...any.map((each) => ["*", each] as const),
  ]) {
    yield `${path}.${name}`;
    yield* below(part, `${path}.${name}`);
  }
}
