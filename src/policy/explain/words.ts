/** The small words that explanations share. */
import { formatDuration } from "../../core/duration.ts";
import type { HeaderEdits } from "../routing/header-edits.ts";

/** "90 %", from a share in [0, 1]. */
export function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`;
}

/** "1 change", "2 changes". */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** Milliseconds of a time-out. */
export function timeText(ms: number): string {
  return ms === 0 ? "off" : formatDuration(ms);
}

/** One line a change, in the order in which they are made. */
export function editsText(
  of: "request" | "answer",
  edits: HeaderEdits | undefined,
): string[] {
  const lines: string[] = [];
  for (let each = edits; each !== undefined; each = each.next) {
    for (const { name, value } of each.set)
      lines.push(`${of}: ${name} is set to ${JSON.stringify(value)}`);
    for (const { name, value } of each.add)
      lines.push(`${of}: ${name} ${JSON.stringify(value)} is added`);
    for (const name of each.remove) lines.push(`${of}: ${name} is removed`);
  }
  return lines;
}
