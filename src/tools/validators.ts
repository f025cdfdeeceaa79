/** Puts code that is made beforehand in the place of `resources/validators.ts` in the package: a sidecar neither compiles schemas nor holds what compiles them. */
import { Ajv } from "ajv";
import standalone from "ajv/dist/standalone/index.js";
import type { Plugin } from "esbuild";
import { join } from "node:path";
import { KINDS, type KindDefinition } from "../resources/registry.ts";
import { MOST_ERRORS, VALIDATOR_OPTIONS } from "../resources/validators.ts";
import { briefly } from "./brief-errors.ts";

/** The space of the modules that are made here, named by kind. */
const NAMESPACE = "validator";

/** The modules that the package has besides: each is read once a sidecar is ready, or when the first resource of its kind comes. */
export function validatorModules(): Record<string, string> {
  return Object.fromEntries(
    KINDS.map(({ kind }) => [fileOf(kind), `${NAMESPACE}:${kind}`]),
  );
}

export function validatorsPlugin(source: string): Plugin {
  const resources = join(source, "resources");
  return {
    name: "validators",
    setup(building) {
      building.onLoad({ filter: /[/\\]resources[/\\]validators\.ts$/ }, () => ({
        contents: loader(),
        resolveDir: resources,
      }));
      building.onResolve({ filter: /^validator:/ }, ({ path }) => ({
        path: path.slice(NAMESPACE.length + 1),
        namespace: NAMESPACE,
      }));
      building.onLoad({ filter: /^/, namespace: NAMESPACE }, ({ path }) => ({
        contents: codeOf(path),
        resolveDir: resources,
      }));
    },
  };
}

function fileOf(kind: string): string {
  return `validator-${kind.toLowerCase()}`;
}

/** In the place of `resources/validators.ts`. A verdict is had at once: so the module is taken by `require`. */
function loader(): string {
  return `import { createRequire } from "node:module";
const files = ${JSON.stringify(Object.fromEntries(KINDS.map(({ kind }) => [kind, `./${fileOf(kind)}.mjs`])))};
const take = createRequire(import.meta.url);
export function makeValidator({ kind }) {
  return take(files[kind]).validate;
}
export const MOST_ERRORS = ${MOST_ERRORS};`;
}

/**
 * What Ajv makes of a schema. It refers to the one schema that there is, where Ajv writes a second. And the function has
 * parentheses around it: so V8 compiles it with its file, and the package brings it compiled. A TrafficPolicy's takes 3 ms then and 9 without.
 */
function codeOf(kind: string): string {
  const definition = KINDS.find((known) => known.kind === kind);
  if (definition === undefined) throw new Error(`unknown kind ${kind}`);
  const code = briefly(compiled(definition), definition.schema);
  const [exported = "", name] = EXPORTED.exec(code) ?? [];
  const opening = `\nfunction ${name}(`;
  const schema = `= ${JSON.stringify(definition.schema)};`;
  if (code.split(opening).length !== 2 || !code.includes(schema))
    throw new Error(`Ajv writes the validator of ${kind} in another form`);
  const eager = code
    .slice(exported.length)
    .replace(opening, `\nexport const validate = (function ${name}(`)
    .replace(schema, () => `= kindNamed(${JSON.stringify(kind)}).schema;`);
  return `import { kindNamed } from "./registry.ts";\nimport { tell } from "../tools/tell-error.ts";\n${eager});`;
}

/** What Ajv's code begins with. */
const EXPORTED =
  /^"use strict";\s*export const validate = (validate\d+);\s*export default \1;/;

function compiled({ schema }: KindDefinition): string {
  const ajv = new Ajv({
    ...VALIDATOR_OPTIONS,
    code: { ...VALIDATOR_OPTIONS.code, source: true, esm: true, lines: true },
  });
  return standalone.default(ajv, ajv.compile(schema));
}
