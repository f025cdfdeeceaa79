/** What the package's validators call where they have found an error. It says what Ajv does, but for what nobody asks for. */
import type { ErrorObject } from "ajv";
import { MOST_ERRORS } from "../resources/validators.ts";

/** What of a schema leads to those of the values within. */
export interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly propertyNames?: SchemaNode;
}

/** What params call that which a keyword says. All others call it "limit". */
const NAMES: Readonly<Record<string, string>> = {
  type: "type",
  pattern: "pattern",
  const: "allowedValue",
  enum: "allowedValues",
};

/** The errors so far with one more, which is in a value or, where it has a name, in the key. Throws them where they are too many. */
export function tell(
  errors: ErrorObject[] | null,
  schema: SchemaNode,
  instancePath: string,
  keyword: string,
  data: unknown,
  params?: ErrorObject["params"],
  propertyName?: string,
): ErrorObject[] {
  const told = errors ?? [];
  const found = schemaAt(schema, instancePath);
  const parentSchema =
    propertyName === undefined ? found : found?.propertyNames;
  const said = (parentSchema as Record<string, unknown> | undefined)?.[keyword];
  const error = {
    instancePath,
    keyword,
    params: params ?? { [NAMES[keyword] ?? "limit"]: said },
    parentSchema,
    data,
    ...(keyword === "pattern" && {
      message: `must match pattern "${String(said)}"`,
    }),
    ...(keyword === "const" && { message: "must be equal to constant" }),
    ...(propertyName !== undefined && { propertyName }),
  };
  told.push(error as ErrorObject);
  // As the code that is made from the source does: `resources/validate.ts` catches them.
  if (told.length >= MOST_ERRORS) throw told as unknown;
  return told;
}

/** The schema of the value that a JSON pointer leads to. */
export function schemaAt(
  schema: SchemaNode,
  pointer: string,
): SchemaNode | undefined {
  let at: SchemaNode | undefined = schema;
  for (const part of pointer.split("/").slice(1))
    at = within(at, part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return at;
}

function within(
  { properties, items, patternProperties }: SchemaNode = {},
  name: string,
): SchemaNode | undefined {
  if (properties !== undefined && Object.hasOwn(properties, name))
    return properties[name];
  return items ?? Object.values(patternProperties ?? {})[0];
}
