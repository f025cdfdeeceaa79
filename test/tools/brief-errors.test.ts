/** Errors of Ajv's code become calls where they are written as they are known, and the build ends where they are not. */
import t from "tap";
import { briefly } from "../../src/tools/brief-errors.ts";
import { schemaAt, type SchemaNode } from "../../src/tools/tell-error.ts";

const SCHEMA = {
  properties: {
    spec: {
      patternProperties: { "^.*$": { type: "number" } },
      propertyNames: { maxLength: 4 },
    },
    both: {
      properties: { "a/b": { type: "string" } },
      patternProperties: { "^.*$": { type: "number" } },
    },
    list: { items: { type: "string" } },
  },
} as SchemaNode;

/** A place as Ajv writes it, with these fields after the path. */
function place(fields: string, path = ""): string {
  return `const err7 = {instancePath${path},schemaPath:"#/x",${fields}};
if(vErrors === null){
vErrors = [err7];
}
else {
vErrors.push(err7);
}
errors++;`;
}

const TYPE = `keyword:"type",params:{type: "string"},message:"must be string",schema:schema1.properties.list.items.type`;

void t.test("a place becomes a call", (t) => {
  const brief = briefly(
    place(
      `${TYPE},parentSchema:schema1.properties.list.items,data:data3`,
      ':instancePath+"/list/" + i0',
    ),
    SCHEMA,
  );
  t.equal(
    brief,
    'vErrors = tell(vErrors, schema1, instancePath+"/list/" + i0, "type", data3);\nerrors++;',
  );
  t.end();
});

void t.test("a key is told by its name", (t) => {
  const brief = briefly(
    place(
      `keyword:"maxLength",params:{limit: 4},message:"is long",schema:4,parentSchema:schema1.properties.spec.propertyNames,data:key2,propertyName:key2`,
    ),
    SCHEMA,
  );
  t.equal(
    brief,
    'vErrors = tell(vErrors, schema1, instancePath, "maxLength", key2, undefined, key2);\nerrors++;',
  );
  t.end();
});

for (const [what, code, message] of [
  [
    "a schema that the place of a value does not lead to",
    place(`${TYPE},parentSchema:schema1.properties,data:data3`),
    /the place of a value does not lead to its schema/,
  ],
  [
    "a pattern beside a field",
    place(
      `${TYPE},parentSchema:schema1.properties.both.patternProperties["^.*$"],data:data3`,
    ),
    /the place of a value does not lead to its schema/,
  ],
  [
    "fields in another order",
    place(`message:"must be string",${TYPE},parentSchema:schema1,data:data3`),
    /writes an error in another form/,
  ],
  [
    "an error that is kept otherwise",
    "const err7 = {instancePath};\nkeep(err7);\nerrors++;",
    /writes what it has found in another form/,
  ],
] as const)
  void t.test(`${what} ends the build`, (t) => {
    t.throws(() => briefly(code, SCHEMA), message);
    t.end();
  });

void t.test("a field is found before what its name matches", (t) => {
  t.same(schemaAt(SCHEMA, ""), SCHEMA);
  t.same(schemaAt(SCHEMA, "/both/a~1b"), { type: "string" });
  t.same(schemaAt(SCHEMA, "/both/other"), { type: "number" });
  t.same(schemaAt(SCHEMA, "/list/17"), { type: "string" });
  t.equal(schemaAt(SCHEMA, "/list/17/deeper"), undefined);
  t.end();
});
