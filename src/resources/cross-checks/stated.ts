/** The values in the rules of an AuthorizationPolicy, whichever of the spellings they come in: lists of `from` and `to`, and conditions. */
import type { AuthorizationRule } from "../authorization-policy/spec.ts";
import type { Segment } from "../path.ts";

/** One value of a rule. */
export interface Stated {
  /** The list that it is in, without its "not", or the key of the condition. */
  readonly subject: string;
  readonly at: readonly Segment[];
  readonly value: string;
}

/** Every value of the rules. `denied`: those of the lists with a "not" as well. */
export function statedIn(
  rules: readonly AuthorizationRule[] | undefined,
  denied: boolean,
): Stated[] {
  const valuesOf = (
    lists: object,
    at: readonly Segment[],
    key?: string,
  ): Stated[] =>
    Object.entries(lists).flatMap(([field, values]: [string, unknown]) => {
      const isDenied = /^not[A-Z]/.test(field);
      if (!Array.isArray(values) || (isDenied && !denied)) return [];
      const subject =
        key ??
        (isDenied ? field.charAt(3).toLowerCase() + field.slice(4) : field);
      return values.map((value, index) => ({
        subject,
        at: [...at, field, index],
        value: String(value),
      }));
    });
  return (rules ?? []).flatMap(({ from, to, when }, index) => {
    const rule = ["spec", "rules", index];
    return [
      ...(from ?? []).flatMap(({ source }, entry) =>
        valuesOf(source, [...rule, "from", entry, "source"]),
      ),
      ...(to ?? []).flatMap(({ operation }, entry) =>
        valuesOf(operation, [...rule, "to", entry, "operation"]),
      ),
      ...(when ?? []).flatMap((condition, entry) =>
        valuesOf(condition, [...rule, "when", entry], condition.key),
      ),
    ];
  });
}
