/** From a JSON schema to the rows of a table: one field a row, with its path, type, default and meaning. */
import { code, count, sentence } from "../markdown.ts";

/** What is read of a schema; `title` names a type that many fields share. */
export interface Schema {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly propertyNames?: Schema;
}

export interface FieldRow {
  /** "rules[].matches[].path" */
  readonly path: string;
  readonly type: string;
  /** "required" where it has to be there. */
  readonly fallback: string;
  readonly meaning: string;
}

function anchorOf(title: string): string {
  return title.toLowerCase().replaceAll(" ", "-");
}

/**
 * The fields of an object and of all objects in it, in the order of the schema.
 * `types` is the address of the page that explains the named types.
 */
export function fieldRows(
  schema: Schema,
  types: string,
  prefix = "",
): FieldRow[] {
  const required = new Set(schema.required);
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    return [
      {
        path,
        type: typeOf(field, types),
        fallback: required.has(name) ? "required" : defaultOf(field),
        meaning:
          field.description === undefined ? "" : sentence(field.description),
      },
      ...rowsWithin(field, types, path),
    ];
  });
}

function rowsWithin(field: Schema, types: string, path: string): FieldRow[] {
  if (field.items !== undefined)
    return rowsWithin(field.items, types, `${path}[]`);
  const value = valueOf(field);
  if (value !== undefined) return rowsWithin(value, types, `${path}.*`);
  return fieldRows(field, types, `${path}.`);
}

/** Values of a map from any key. */
function valueOf({ patternProperties }: Schema): Schema | undefined {
  return Object.values(patternProperties ?? {})[0];
}

function defaultOf({ default: fallback }: Schema): string {
  if (fallback === undefined) return "";
  if (typeof fallback === "string") return code(fallback);
  return code(JSON.stringify(fallback));
}

function typeOf(schema: Schema, types: string): string {
  if (schema.enum !== undefined)
    return schema.enum
      .map((value) => code(value === "" ? '""' : value))
      .join(", ");
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema.anyOf !== undefined)
    return schema.anyOf.map((each) => typeOf(each, types)).join(" or ");
  if (schema.title !== undefined)
    return `[${schema.title}](${types}#${anchorOf(schema.title)})`;
  return plainType(schema, types);
}

function plainType(schema: Schema, types: string): string {
  const { type = "any", minimum, maximum } = schema;
  switch (type) {
    case "array":
      return `list of ${schema.items === undefined ? "any" : typeOf(schema.items, types)}${itemBounds(schema)}`;
    case "object": {
      const value = valueOf(schema);
      return value === undefined
        ? "object"
        : `map from ${typeOf(schema.propertyNames ?? { type: "string" }, types)} to ${typeOf(value, types)}`;
    }
    case "string":
      return `text${schema.maxLength === undefined ? "" : `, at most ${count(schema.maxLength)} characters`}`;
    default:
      return `${type}${bounds(minimum, maximum)}`;
  }
}

function itemBounds({ minItems = 0, maxItems }: Schema): string {
  if (maxItems === undefined) return minItems > 0 ? ", at least one" : "";
  return `, ${minItems} to ${maxItems}`;
}

function bounds(minimum?: number, maximum?: number): string {
  if (minimum === undefined && maximum === undefined) return "";
  if (maximum === undefined) return `, at least ${count(minimum ?? 0)}`;
  return `, ${count(minimum ?? 0)} to ${count(maximum)}`;
}
