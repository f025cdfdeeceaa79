/**
 * What a kill leaves of the write-ahead log. SQLite reads it up to the first frame whose checksum is wrong, and says nothing of what
 * comes behind: that is a write which was cut short, or damage that takes acknowledged writes along.
 *
 * The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { readFileSync } from "node:fs";

const HEADER = 32;
const FRAME_HEADER = 24;
/** Bytes of a page in a database of ours: SQLite's own size. */
const PAGE = 4096;
/** The last bit says in which order of bytes the sums are made. */
const MAGIC = 0x377f0682;

export type WalState =
  /** There is none, or all of it can be read. */
  | "whole"
  /** One transaction at its end cannot be read: it was being written, or it is damaged. */
  | "cut"
  /** Transactions behind one that was on the disk cannot be read. */
  | "damaged";

export function stateOfWal(file: string): WalState {
  const wal = read(file);
  // Shorter than a frame: the first write was cut short.
  if (wal.length < HEADER + FRAME_HEADER) return "whole";
  const sum = sumOfHeader(wal);
  const size = FRAME_HEADER + (sum === undefined ? PAGE : wal.readUInt32BE(8));
  // Where the header is damaged, so may its salts be: its first frame has them.
  const salts = saltsAt(wal, sum === undefined ? HEADER + 8 : 16);
  const good = sum === undefined ? 0 : goodFrames(wal, size, salts, sum);
  // Each transaction is on the disk before the next one begins, so one at most was being written.
  let commits = 0;
  for (let at = HEADER + good * size; at + size <= wal.length; at += size)
    if (wal.readUInt32BE(at + 4) > 0 && saltsAt(wal, at + 8) === salts)
      commits += 1;
  if (commits === 0) return "whole";
  return commits === 1 ? "cut" : "damaged";
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    // What is wrong beside that there is none, the opening of the database says.
    return Buffer.alloc(0);
  }
}

/** The frames of one log have the salts of its header; what is left of the log before has others. */
function saltsAt(wal: Buffer, at: number): string {
  return wal.toString("hex", at, at + 8);
}

/** The sum behind the header; undefined where the header is not one, and SQLite reads no frame. */
function sumOfHeader(wal: Buffer): Sum | undefined {
  const magic = wal.readUInt32BE(0);
  if ((magic | 1) !== (MAGIC | 1)) return undefined;
  const sum = new Sum(wal, magic === MAGIC);
  sum.add(0, 24);
  return sum.isAt(24) ? sum : undefined;
}

/** How many frames SQLite reads. */
function goodFrames(
  wal: Buffer,
  size: number,
  salts: string,
  sum: Sum,
): number {
  let good = 0;
  for (let at = HEADER; at + size <= wal.length; at += size) {
    if (saltsAt(wal, at + 8) !== salts) break;
    sum.add(at, 8);
    sum.add(at + FRAME_HEADER, size - FRAME_HEADER);
    if (!sum.isAt(at + 16)) break;
    good += 1;
  }
  return good;
}

/** Each frame's sum goes on from that of the frame before. */
class Sum {
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  #first = 0;
  #second = 0;

  constructor(wal: Buffer, littleEndian: boolean) {
    this.#view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
    this.#littleEndian = littleEndian;
  }

  add(from: number, length: number): void {
    for (let at = from; at < from + length; at += 8) {
      const left = this.#view.getUint32(at, this.#littleEndian);
      const right = this.#view.getUint32(at + 4, this.#littleEndian);
      this.#first = (this.#first + left + this.#second) >>> 0;
      this.#second = (this.#second + right + this.#first) >>> 0;
    }
  }

  isAt(at: number): boolean {
    return (
      this.#view.getUint32(at) === this.#first &&
      this.#view.getUint32(at + 4) === this.#second
    );
  }
}
