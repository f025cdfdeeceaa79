/** What of a rule asks for an HTTP request: one list for verdicts and for warnings, as over TCP all of it is missing (trap 3). */
import type { Segment } from "../path.ts";
import type {
  AuthorizationOperation,
  AuthorizationRule,
  AuthorizationSource,
} from "./spec.ts";

const OF_SOURCES = [
  "requestPrincipals",
  "notRequestPrincipals",
] as const satisfies (keyof AuthorizationSource)[];

const OF_OPERATIONS = [
  "methods",
  "notMethods",
  "paths",
  "notPaths",
  "hosts",
  "notHosts",
] as const satisfies (keyof AuthorizationOperation)[];

export interface HttpAttribute {
  /** A field, or the key of a condition. */
  readonly name: string;
  /** Below the rule. */
  readonly at: readonly Segment[];
}

export function httpAttributes({
  from = [],
  to = [],
  when = [],
}: AuthorizationRule): readonly HttpAttribute[] {
  return [
    ...from.flatMap(({ source }, entry) =>
      OF_SOURCES.filter((name) => source[name] !== undefined).map((name) => ({
        name,
        at: ["from", entry, "source", name],
      })),
    ),
    ...to.flatMap(({ operation }, entry) =>
      OF_OPERATIONS.filter((name) => operation[name] !== undefined).map(
        (name) => ({ name, at: ["to", entry, "operation", name] }),
      ),
    ),
    ...when.flatMap(({ key }, entry) =>
      key.startsWith("request.") ? [{ name: key, at: ["when", entry] }] : [],
    ),
  ];
}
