/** Makes the validator of a kind from its schema. In the published package this file is another: `tools/validators.ts` makes them beforehand. */
import { Ajv, type Options, type ValidateFunction } from "ajv";
import type { Resource } from "./envelope.ts";
import type { KindDefinition } from "./kind.ts";
import { KEYWORDS } from "./schema-parts.ts";

/** Errors of the schema after which a value is not looked at any further: each takes its time, and two megabytes can have a million. */
export const MOST_ERRORS = 2000;
/** What the validators' code says where it has found one more, and in its place: the same until there are so many. */
const [FOUND, FOUND_AT_MOST] = [
  "errors++;",
  `if(++errors>=${MOST_ERRORS})throw vErrors;`,
];

export const VALIDATOR_OPTIONS: Options = {
  allErrors: true,
  verbose: true,
  strictTypes: false,
  keywords: [...KEYWORDS],
  // Ajv's pass over its own code takes a quarter of the compilation, and leaves a sixteenth of the text out.
  code: { optimize: false, process: endAtMost },
};

/** The code of a validator, which throws its errors where it has found too many. */
export function endAtMost(code: string): string {
  return code.replaceAll(FOUND, FOUND_AT_MOST);
}

let ajv: Ajv | undefined;

/** Takes up to 60 ms. */
export function makeValidator({
  schema,
}: KindDefinition): ValidateFunction<Resource> {
  ajv ??= new Ajv(VALIDATOR_OPTIONS);
  return ajv.compile<Resource>(schema);
}
