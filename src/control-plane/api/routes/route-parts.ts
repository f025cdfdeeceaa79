/** What the routes of the mesh share: the common parts of their schemas. */
import Type, { type TSchema } from "typebox";
import { isObject } from "../../../core/text/json.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { JSON_TYPE } from "../bodies.ts";

export const NO_QUERY: TSchema = Type.Object({}, CLOSED);

export const DRY_RUN: Readonly<Record<string, TSchema>> = {
  dryRun: Type.Optional(
    Type.Literal("All", { description: "judge, and change nothing" }),
  ),
};

export function jsonBody(schema: object): object {
  return { content: { [JSON_TYPE]: { schema } } };
}

/** Parameters that have been validated: all are text. */
export function fieldsOf(
  value: unknown,
): Readonly<Record<string, string | undefined>> {
  return isObject(value)
    ? Object.fromEntries(
        Object.entries(value).filter(
          (entry): entry is [string, string] => typeof entry[1] === "string",
        ),
      )
    : {};
}
