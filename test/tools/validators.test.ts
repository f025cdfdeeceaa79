/** The validators of the package, which are made beforehand: they find what those find that are made from the schemas as they are needed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ErrorObject, ValidateFunction } from "ajv";
import { build } from "esbuild";
import t from "tap";
import { parseAllDocuments } from "yaml";
import { KINDS, type KindDefinition } from "../../src/resources/registry.ts";
import { makeValidator } from "../../src/resources/validators.ts";
import {
  validatorModules,
  validatorsPlugin,
} from "../../src/tools/validators.ts";
import { SRC } from "../support/repository/imports.ts";

const EXAMPLES = fileURLToPath(
  new URL("../../config/examples/kinds", import.meta.url),
);
const folder = t.testdir({});

/** As `tools/build.js` makes them. */
const { metafile } = await build({
  entryPoints: {
    ...validatorModules(),
    validators: join(SRC, "resources", "validators.ts"),
  },
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  minifySyntax: true,
  minifyWhitespace: true,
  metafile: true,
  plugins: [validatorsPlugin(SRC)],
  banner: {
    js: 'import { createRequire as bundledRequire } from "node:module"; const require = bundledRequire(import.meta.url);',
  },
});
const packaged = (await import(
  pathToFileURL(join(folder, "validators.mjs")).href
)) as {
  readonly makeValidator: (definition: KindDefinition) => ValidateFunction;
};

type Place = readonly (string | number)[];

/** Every place in a value, itself first. */
function placesIn(value: unknown, place: Place = []): Place[] {
  if (typeof value !== "object" || value === null) return [place];
  return [
    place,
    ...Object.entries(value).flatMap(([key, entry]) =>
      placesIn(entry, [...place, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
}

/** A copy with something else at a place; without it, where that is undefined. */
function changed(value: unknown, place: Place, to: unknown): unknown {
  const [first, ...rest] = place;
  if (first === undefined) return to;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  const entry = changed(copy[first], rest, to);
  if (entry === undefined) Reflect.deleteProperty(copy, first);
  else copy[first] = entry;
  return copy;
}

/** What stands in the place of each value of the examples in turn. */
const WRONG: readonly unknown[] = [
  undefined,
  null,
  7,
  -1,
  "",
  "§",
  [],
  {},
  true,
  { unknown: 1 },
];

function foundBy(accepts: ValidateFunction, value: unknown): unknown {
  try {
    return { ok: accepts(value), errors: accepts.errors?.map(asked) };
  } catch (thrown) {
    return { thrown };
  }
}

/** What is asked of an error. */
function asked(error: ErrorObject): object {
  const { instancePath, keyword, parentSchema, data, propertyName } = error;
  // The one that a type of numbers has besides says what the keyword says.
  const { comparison: _says, ...params } = error.params;
  const message = /^(?:pattern|const)$/.test(keyword) ? error.message : "";
  const place = { instancePath, propertyName };
  return { ...place, keyword, params, parentSchema, data, message };
}

for (const definition of KINDS)
  void t.test(`${definition.kind} is judged the same`, (t) => {
    const file = join(EXAMPLES, `${definition.kind.toLowerCase()}.yaml`);
    const examples = parseAllDocuments(readFileSync(file, "utf8"))
      .map((document) => document.toJS() as { readonly kind?: string })
      .filter(({ kind }) => kind === definition.kind);
    const [ours, theirs] = [
      packaged.makeValidator(definition),
      makeValidator(definition),
    ];
    let refused = 0;
    for (const example of examples) {
      t.ok(ours(example), "an example is accepted");
      for (const place of placesIn(example))
        for (const wrong of WRONG) {
          const value = changed(example, place, wrong);
          const [found, expected] = [
            foundBy(ours, value),
            foundBy(theirs, value),
          ];
          if ((found as { ok?: boolean }).ok === false) refused += 1;
          if (JSON.stringify(found) !== JSON.stringify(expected))
            t.same(found, expected, `${place.join(".")}: ${String(wrong)}`);
        }
    }
    t.ok(refused > 20, `${refused} values were refused`);
    t.end();
  });

void t.test(
  "a value with thousands of errors is not looked at to its end",
  (t) => {
    const [definition] = KINDS;
    t.ok(definition !== undefined);
    if (definition === undefined) return t.end();
    const value = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [`field${index}`, 1]),
    );
    const { thrown } = foundBy(packaged.makeValidator(definition), value) as {
      thrown: ErrorObject[];
    };
    t.equal(thrown.length, 2000);
    return t.end();
  },
);

void t.test("nothing that compiles schemas is in them", (t) => {
  const inputs = Object.keys(metafile.inputs);
  t.ok(
    inputs.some((file) => file.includes("ajv/dist/runtime")),
    "it is read",
  );
  t.same(
    inputs.filter((file) => /ajv\/dist\/(?!runtime)/.test(file)),
    [],
  );
  const files = readdirSync(folder).filter((file) =>
    file.startsWith("validator-"),
  );
  t.equal(files.length, KINDS.length, "each kind has a file of its own");
  for (const file of files)
    t.match(
      readFileSync(join(folder, file), "utf8"),
      /=\(function validate\d+\(/,
      `${file} is compiled when it is loaded`,
    );
  t.end();
});
