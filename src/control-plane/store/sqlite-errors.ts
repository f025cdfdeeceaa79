/** What SQLite says of a disk that is full, failing, read-only or damaged, and what a person can do about it. */
import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../core/errors.ts";
import { StoreError } from "./store.ts";

/** Primary result codes that say something of the machine or of the file, not of the statement (sqlite3.h). */
const MACHINE: Readonly<
  Record<number, { readonly name: string; readonly advice: string }>
> = {
  5: { name: "SQLITE_BUSY", advice: "end the process that has it open" },
  6: { name: "SQLITE_LOCKED", advice: "end the process that has it open" },
  7: { name: "SQLITE_NOMEM", advice: "give the control plane more memory" },
  8: { name: "SQLITE_READONLY", advice: "make its directory writable" },
  10: { name: "SQLITE_IOERR", advice: "look at the disk and its limits" },
  11: {
    name: "SQLITE_CORRUPT",
    advice: "restart the control plane, which says what is damaged",
  },
  13: { name: "SQLITE_FULL", advice: "make room on its disk" },
  14: {
    name: "SQLITE_CANTOPEN",
    advice: "look at its directory and the limit on open files",
  },
  26: {
    name: "SQLITE_NOTADB",
    advice: "restart the control plane, which says what is damaged",
  },
};

/** Primary codes of a file whose content is wrong. */
const DAMAGED: readonly number[] = [11, 26];
/** Findings of the check that a message lists. */
const MOST_FINDINGS = 3;

/** SQLite's primary result code; undefined of whatever else was thrown. */
function primaryCode(thrown: unknown): number | undefined {
  return thrown instanceof Error &&
    "errcode" in thrown &&
    typeof thrown.errcode === "number"
    ? thrown.errcode & 0xff
    : undefined;
}

/** The error of a write or a read that the machine did not let happen; anything else as it is. */
export function asStoreError(
  what: "read" | "written",
  thrown: unknown,
): unknown {
  const code = primaryCode(thrown);
  const known = code === undefined ? undefined : MACHINE[code];
  if (known === undefined) return thrown;
  const { name, advice } = known;
  return new StoreError(
    `the control plane's store cannot be ${what}: ${messageOf(thrown)} (${name}); ${advice}`,
    { cause: thrown, code: name },
  );
}

export function isDamage(thrown: unknown): boolean {
  return DAMAGED.includes(primaryCode(thrown) ?? 0);
}

/** What SQLite's own check finds in a database that is damaged: "Tree 4 page 7: …"; undefined where it finds nothing, or cannot look. */
export function findings(database: DatabaseSync): string | undefined {
  try {
    const rows = database
      .prepare(`PRAGMA quick_check(${MOST_FINDINGS})`)
      .all()
      .map((row) => String(row["quick_check"]).trim());
    const text = rows.join("; ").replaceAll("\n", ", ");
    return text === "ok" ? undefined : text;
  } catch {
    return undefined;
  }
}
