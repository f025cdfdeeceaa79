/** A file of lines that grows by what changes: lines count once a last one closes them with their checksum, so that a write that was cut short leaves what was there before. */
import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { replaceFile } from "../core/directory.ts";
import { messageOf, systemCode } from "../core/errors.ts";
import { again } from "../core/machine/again.ts";
import { nextTurn } from "../core/slices.ts";
import { closeFile, LARGEST } from "./state-directory.ts";

/** Up to where a file is whole. */
export interface Position {
  /** The file's: another one of that name is somebody else's. */
  readonly inode: number;
  readonly bytes: number;
  /** Covers all that is before: each batch's checksum is over the one before it, too, so that no batch can be left out. */
  readonly checksum: string;
}

/** Lines that count together. */
export interface Batch {
  readonly lines: readonly unknown[];
  /** What the line that closes them says. */
  readonly closing: unknown;
  readonly end: Position;
}

export interface JournalText {
  /** Those that are whole, from the first. */
  readonly batches: readonly Batch[];
  /** What follows them and is not whole, or why nothing could be read. */
  readonly damage: string | undefined;
}

const NEWLINE = 0x0a;
const CLOSING = '{"closing":';
const CHECKSUM = /,"checksum":"([0-9a-f]{64})"\}$/;
/** Characters that are made and written at a time: some 0.2 ms of the event loop. */
const PIECE = 32 * 1024;

/** Undefined where there is no such file. Never rejects. */
export async function readJournal(
  file: string,
  clock: Clock,
): Promise<JournalText | undefined> {
  let found: Awaited<ReturnType<typeof readBytes>>;
  try {
    found = await again(clock, () => readBytes(file));
  } catch (thrown) {
    return systemCode(thrown) === "ENOENT"
      ? undefined
      : { batches: [], damage: messageOf(thrown) };
  }
  const { text, size, inode } = found;
  if (text === undefined)
    return { batches: [], damage: `${file} has ${size} bytes` };
  let end = beginningOf(inode);
  const batches: Batch[] = [];
  for (;;) {
    const batch = readBatch(text, end);
    if (batch === undefined) break;
    batches.push(batch);
    end = batch.end;
  }
  const left = text.length - end.bytes;
  return {
    batches,
    damage:
      left === 0 && batches.length > 0
        ? undefined
        : `${file}: its last ${left} bytes do not fit their checksum: they were cut short or changed`,
  };
}

/** Without a text where it is too large. */
async function readBytes(file: string): Promise<{
  readonly text?: Buffer;
  readonly size: number;
  readonly inode: number;
}> {
  await using handle = await open(file, "r");
  const { size, ino: inode } = await handle.stat();
  if (size > LARGEST) return { size, inode };
  await closeFile(handle, file);
  return { size, inode, text: await handle.readFile() };
}

/** Adds a batch after `from`, whatever is there; undefined among the lines lets others go first. Rejects where that fails; what was whole before is whole then. */
export async function appendToJournal(
  file: string,
  from: Position,
  lines: Iterable<string | undefined>,
  closing: unknown,
): Promise<Position> {
  await using handle = await open(file, "r+");
  const { size, ino } = await handle.stat();
  if (ino !== from.inode || size < from.bytes)
    throw new Error(`${file} was replaced or cut by somebody else`);
  let end: Position;
  try {
    end = await writeBatch(handle, from, lines, closing);
  } catch (thrown) {
    // Its beginning would say that something is lost. To cut it off takes no room.
    await handle.truncate(from.bytes);
    throw thrown;
  }
  if (size > end.bytes) await handle.truncate(end.bytes);
  await handle.datasync();
  return end;
}

/** Begins anew with one batch. A reader meanwhile, and whatever happens, finds the old file or the new one. */
export async function replaceJournal(
  file: string,
  lines: Iterable<string | undefined>,
  closing: unknown,
): Promise<Position> {
  return replaceFile(file, async (handle) => {
    const { ino } = await handle.stat();
    return writeBatch(handle, beginningOf(ino), lines, closing);
  });
}

function beginningOf(inode: number): Position {
  return { inode, bytes: 0, checksum: "" };
}

async function writeBatch(
  handle: FileHandle,
  from: Position,
  lines: Iterable<string | undefined>,
  closing: unknown,
): Promise<Position> {
  const hash = createHash("sha256").update(from.checksum);
  let at = from.bytes;
  let text = "";
  for (const line of lines) {
    if (line === undefined) {
      await nextTurn();
      continue;
    }
    text += `${line}\n`;
    if (text.length < PIECE) continue;
    const piece = Buffer.from(text);
    text = "";
    hash.update(piece);
    at = await writeAll(handle, piece, at);
  }
  text += `${CLOSING}${JSON.stringify(closing)}`;
  const checksum = hash.update(text).digest("hex");
  const last = Buffer.from(`${text},"checksum":"${checksum}"}\n`);
  return { ...from, bytes: await writeAll(handle, last, at), checksum };
}

/** Where it ends. */
async function writeAll(
  handle: FileHandle,
  bytes: Buffer,
  at: number,
): Promise<number> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      bytes.length - done,
      at + done,
    );
    done += bytesWritten;
  }
  return at + bytes.length;
}

/** The batch that begins there; undefined where none is whole. */
function readBatch(text: Buffer, from: Position): Batch | undefined {
  const ends: number[] = [];
  for (let at = from.bytes; ;) {
    const end = text.indexOf(NEWLINE, at);
    if (end < 0) return undefined;
    if (text.toString("latin1", at, at + CLOSING.length) === CLOSING)
      return closeBatch(text, from, ends, at, end);
    ends.push(end);
    at = end + 1;
  }
}

function closeBatch(
  text: Buffer,
  from: Position,
  ends: readonly number[],
  at: number,
  end: number,
): Batch | undefined {
  const line = text.toString("utf8", at, end);
  const found = CHECKSUM.exec(line);
  if (found === null) return undefined;
  const [tail, checksum = ""] = found;
  const covered = text.subarray(from.bytes, end - tail.length);
  const hash = createHash("sha256").update(from.checksum).update(covered);
  if (hash.digest("hex") !== checksum) return undefined;
  // Past the checksum they are as this program wrote them.
  let start = from.bytes;
  const lines = ends.map((lineEnd): unknown => {
    const content = text.toString("utf8", start, lineEnd);
    start = lineEnd + 1;
    return JSON.parse(content);
  });
  const closing: unknown = JSON.parse(line.slice(CLOSING.length, found.index));
  return { lines, closing, end: { ...from, bytes: end + 1, checksum } };
}
