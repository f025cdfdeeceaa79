/** Durations as Gateway API writes them (GEP-2257): "1h", "500ms", "1m30s"; days and fractions have no meaning there. */

const SHAPE = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/;
const PART = /([0-9]{1,5})(ms|h|m|s)/g;
const UNIT: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};

/** The pattern for schemas. */
export const DURATION_PATTERN: string = SHAPE.source;

/** Milliseconds, or undefined where the text is not a GEP-2257 duration. */
export function parseDuration(text: string): number | undefined {
  if (!SHAPE.test(text)) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(PART))
    total += Number(count) * (UNIT[unit ?? ""] ?? 0);
  return total;
}

/** Milliseconds of a duration that a schema has already accepted. */
export function durationOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new RangeError(`not a GEP-2257 duration: "${text}"`);
  return ms;
}

/** The shortest text for whole milliseconds: 90000 → "1m30s". */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms));
  if (rest === 0) return "0s";
  let text = "";
  for (const unit of ["h", "m", "s", "ms"]) {
    const size = UNIT[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}
