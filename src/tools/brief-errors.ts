/** Has the code that Ajv writes tell of an error by a call. Written out at each of its two thousand places, errors are most of the code and of its memory. */
import { isObject } from "../core/text/json.ts";
import { schemaAt, tell, type SchemaNode } from "./tell-error.ts";

/** A place where Ajv's code has found an error. Each has a name of its own. */
const PLACE =
  /const (err\d+) = \{(.+)\};\nif\(vErrors === null\)\{\nvErrors = \[\1\];\n\}\nelse \{\nvErrors\.push\(\1\);\n\}/g;
/** What stands there in any form. */
const ANY_PLACE = /const err\d+ = /g;
/** The fields of such an error, in Ajv's order. */
const FIELDS =
  /^instancePath(?<path>:.+)?,schemaPath:"[^"]*",keyword:"(?<keyword>\w+)",params:(?<params>\{.*\}),message:.+,schema:.+,parentSchema:(?<root>schema\d+)(?<parent>(?:\.\w+|\["[^"]+"\])*),data(?<data>:\w+)?(?:,propertyName:(?<name>\w+))?$/;
/** A key on the way to a schema within. */
const KEY = /\.(\w+)|\["([^"]+)"\]/g;
/** What no field is called. */
const ANY_NAME = "§";
/** Keywords whose errors say what their schema does not. */
const WITH_PARAMS: ReadonlySet<string> = new Set([
  ...["required", "additionalProperties", "propertyNames", "uniqueItems"],
]);

/** The same code, by `tell`. Throws where Ajv writes errors in another form. */
export function briefly(code: string, schema: object): string {
  const places = code.match(ANY_PLACE)?.length ?? 0;
  let found = 0;
  const brief = code.replace(PLACE, (_place, _name, fields: string) => {
    found += 1;
    return called(fields, schema);
  });
  if (found === places) return brief;
  throw new Error("Ajv writes what it has found in another form");
}

function called(fields: string, schema: object): string {
  const read = FIELDS.exec(fields)?.groups;
  if (read === undefined)
    throw new Error(`Ajv writes an error in another form: ${fields}`);
  const { path, keyword = "", params, root, parent = "", data, name } = read;
  if (!isFoundByPlace(schema, parent))
    throw new Error(
      `the place of a value does not lead to its schema: ${parent}`,
    );
  const values = [
    ...["vErrors", root, path?.slice(1) ?? "instancePath"],
    ...[JSON.stringify(keyword), data?.slice(1) ?? "data"],
    WITH_PARAMS.has(keyword) ? params : undefined,
    name,
  ];
  while (values.at(-1) === undefined) values.pop();
  return `vErrors = ${tell.name}(${values.map(String).join(", ")});`;
}

/** Whether `tell` finds a schema, to which these keys lead, by the place of a value. */
function isFoundByPlace(schema: SchemaNode, way: string): boolean {
  const keys = [...way.matchAll(KEY)].map(([, key, quoted]) => key ?? quoted);
  const next = keys.values();
  let [at, found, place]: [unknown, unknown, string] = [schema, schema, ""];
  for (const key of next) {
    // A field and a pattern may be for one name: then there is one more schema than a place can tell.
    if (isObject(at) && at["properties"] && at["patternProperties"])
      return false;
    at = keyed(at, key);
    if (key === "propertyNames") {
      found = schemaAt(schema, place)?.propertyNames;
      continue;
    }
    const name = key === "items" ? "0" : next.next().value;
    if (key !== "items") at = keyed(at, name);
    place += `/${key === "patternProperties" ? ANY_NAME : String(name)}`;
    found = schemaAt(schema, place);
  }
  return at !== undefined && at === found;
}

function keyed(value: unknown, key: string | undefined): unknown {
  return isObject(value) ? value[key ?? ""] : undefined;
}
