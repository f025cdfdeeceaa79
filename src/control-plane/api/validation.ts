/** Validates queries, path parameters and the small bodies of the API against their schemas; resources have a validator of their own. */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { FastifySchemaCompiler } from "fastify";
import type { TSchema } from "typebox";
import { formatPath, fromPointer } from "../../resources/path.ts";
import { KEYWORDS } from "../../resources/schema-parts.ts";
import { ApiError, invalid, type Cause } from "./errors.ts";

type Outcome = { readonly value: unknown } | { readonly error: Error };

/** A request with more is not worth reading to the end, and its response must not be larger than it by far. */
export const MOST_CAUSES = 50;

const ajv = new Ajv({
  allErrors: true,
  strictTypes: false,
  keywords: [...KEYWORDS],
});

/** For fastify's `validatorCompiler`. Wrong bodies are 422, wrong queries and paths 400; both name the field. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({
  schema,
  httpPart,
}) =>
  // The schema of a kind: control-plane/api/resource-validation.ts validates those, with words of its own; a list has each of its items validated so.
  "$ref" in schema
    ? (value: unknown): Outcome => ({ value })
    : validatorOf(schema, httpPart);

export function validatorOf(
  schema: TSchema,
  httpPart?: string,
): (value: unknown) => Outcome {
  let compiled: ValidateFunction | undefined;
  return (value) => {
    // At first use: hundreds of routes share few schemas, and most are not called in a process's life.
    compiled ??= ajv.compile(schema);
    const accepts = compiled;
    if (accepts(value)) return { value };
    const errors = accepts.errors ?? [];
    const causes = errors
      .slice(0, MOST_CAUSES)
      .map((error) => causeOf(error, value));
    if (errors.length > MOST_CAUSES)
      causes.push({
        field: "",
        message: `and ${errors.length - MOST_CAUSES} more`,
      });
    return {
      error:
        httpPart === "body"
          ? invalid("the body", causes)
          : new ApiError(
              "BadRequest",
              `the ${httpPart === "querystring" ? "query" : "path"} is invalid: ${causes.map(({ field, message }) => `${field} ${message}`).join("; ")}`,
              causes,
            ),
    };
  };
}

function causeOf(error: ErrorObject, value: unknown): Cause {
  const path = fromPointer(error.instancePath, value);
  const params = error.params as Readonly<Record<string, unknown>>;
  const extra = params["additionalProperty"] ?? params["missingProperty"];
  const field = formatPath(typeof extra === "string" ? [...path, extra] : path);
  const allowed = params["allowedValues"] ?? params["allowedValue"];
  const message =
    error.keyword === "additionalProperties"
      ? "is not known here"
      : error.keyword === "required"
        ? "is required"
        : `${error.message ?? "is wrong"}${allowed === undefined ? "" : `: ${JSON.stringify(allowed)}`}`;
  return { field, message };
}
