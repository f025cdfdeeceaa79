/** What JSON becomes in memory. */

/** A JSON object: neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** DEL and the C1 controls: JSON has them as they are, and a terminal takes one of them for the beginning of a command. */
const OBEYED = /[\x7f-\x9f]/g;

/** The same JSON, with nothing in it that a terminal obeys: lines of a log hold what others wrote. */
export function harmless(json: string): string {
  return json.replaceAll(
    OBEYED,
    (found) => `\\u00${found.charCodeAt(0).toString(16)}`,
  );
}
