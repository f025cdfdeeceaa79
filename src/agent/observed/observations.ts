/** The calls of one sort that this sidecar has seen in the last hour, bounded: reported to the control plane as it changes, and all of it at each connection. */
import { status, type Client } from "@grpc/grpc-js";
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import type { Counted } from "../../push/messages.ts";
import { MOST_OBSERVED, OBSERVED_FOR } from "../../push/names.ts";
import { LOOK_AGAIN, type SharedObservations } from "../agent.ts";
import { call, CallError } from "../connection.ts";
import type { Countable, Sort } from "./sorts.ts";

/** Milliseconds in which news is gathered. */
const GATHER = 1000;
/** Milliseconds between two reports. */
const PAUSE = 10_000;
/** Milliseconds over which sidecars that are connected anew spread what they knew already: after a control plane starts again, all of them have it to say. */
const SPREAD = 30_000;
/** Characters of text in one message: three bytes each at most, so that it stays below LONGEST_REQUEST. */
const MOST_TEXT = 1 << 20;
const TIMEOUT = 5000;
/** Milliseconds for which calls are counted together; an hour has twelve of them. */
const SLOT = OBSERVED_FOR / 12;
/** The hour, and the slot that it begins in. */
const MOST_SLOTS = 13;

interface Connection {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** The control plane does not know of such reports. */
  refused: boolean;
}

interface Row<Call> {
  readonly call: Call;
  /** How many came in each slot, by the slot's number. */
  readonly counts: Map<number, number>;
  readonly first: number;
  last: number;
}

export interface ObservationsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Observations<
  Call extends Countable,
> implements SharedObservations<Call> {
  readonly #sort: Sort<Call>;
  readonly #options: ObservationsOptions;
  readonly #rows = new Map<string, Row<Call>>();
  /** Those that the control plane does not have as they are. */
  readonly #news = new Set<Row<Call>>();
  #dropped = 0;
  #connection: Connection | undefined;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #cancelFlush: Cancel | undefined;
  #closed = false;

  constructor(sort: Sort<Call>, options: ObservationsOptions) {
    this.#sort = sort;
    this.#options = options;
  }

  /** The stream is open: reports go over this client until the signal aborts. It may be of a control plane that knows nothing yet. */
  connected(client: Client, signal: AbortSignal): void {
    this.#connection = { client, signal, refused: false };
    for (const row of this.#rows.values()) this.#news.add(row);
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    this.#flushSoon(SPREAD);
  }

  watch(look: () => Counted<Call>): Cancel {
    return this.#options.clock.every(LOOK_AGAIN, () => this.tell(look()));
  }

  tell({ calls, dropped }: Counted<Call>): void {
    if (this.#closed) return;
    this.#dropped += dropped;
    const now = this.#options.clock.now();
    // Once for each report: what finds no room does not pay for a walk over all rows each time.
    if (this.#rows.size + calls.length > MOST_OBSERVED) this.#forgetOld(now);
    for (const each of calls) this.#add(each, now);
    this.#flushSoon();
  }

  close(): void {
    this.#closed = true;
    this.#cancelFlush?.();
  }

  #add(observed: Call, now: number): void {
    const key = this.#sort.keyOf(observed);
    let row = this.#rows.get(key);
    if (row === undefined) {
      if (this.#rows.size >= MOST_OBSERVED) {
        this.#dropped += observed.count;
        return;
      }
      row = { call: observed, counts: new Map(), first: now, last: now };
      this.#rows.set(key, row);
    }
    const slot = Math.floor(now / SLOT);
    row.counts.set(slot, (row.counts.get(slot) ?? 0) + observed.count);
    // Nobody may ask for them for long, and the oldest is not of the last hour.
    const [oldest = slot] = row.counts.keys();
    if (row.counts.size > MOST_SLOTS) row.counts.delete(oldest);
    row.last = now;
    this.#news.add(row);
  }

  #forgetOld(now: number): void {
    for (const [key, row] of this.#rows)
      if (row.last <= now - OBSERVED_FOR) {
        this.#rows.delete(key);
        this.#news.delete(row);
      }
  }

  /** `spread`: milliseconds within which it is at some time. */
  #flushSoon(spread = GATHER): void {
    const { clock, logger } = this.#options;
    if (this.#closed || this.#news.size === 0) return;
    const wait = Math.max(
      spread * clock.random(),
      this.#reportedAt + PAUSE - clock.now(),
    );
    this.#cancelFlush ??= clock.after(wait, () => {
      this.#cancelFlush = undefined;
      this.#flush().catch(defectIn(logger, "the report of calls"));
    });
  }

  async #flush(): Promise<void> {
    const { clock } = this.#options;
    const connection = this.#connection;
    if (
      connection === undefined ||
      connection.signal.aborted ||
      connection.refused
    )
      return;
    const now = clock.now();
    this.#forgetOld(now);
    this.#reportedAt = now;
    const rows = [...this.#news];
    this.#news.clear();
    await this.#send(rows, connection);
  }

  /** In as many messages as it takes. One that the control plane cannot read is halved, until the row is found that it cannot read. */
  async #send(
    rows: readonly Row<Call>[],
    connection: Connection,
  ): Promise<void> {
    const { clock, logger } = this.#options;
    const { client, signal } = connection;
    const waiting = slicesOf(rows);
    for (;;) {
      const slice = waiting.shift();
      if (slice === undefined) return;
      const dropped = this.#dropped;
      this.#dropped = 0;
      const now = clock.now();
      const calls = slice.map((row) => reportOf(row, now));
      try {
        await call(
          client,
          this.#sort.method,
          { calls, dropped },
          { clock, signal, timeout: TIMEOUT },
        );
      } catch (thrown) {
        this.#dropped += dropped;
        const reason = messageOf(thrown);
        logger.debug({ reason }, "calls that were seen were not reported");
        const code = thrown instanceof CallError ? thrown.code : undefined;
        if (code === status.RESOURCE_EXHAUSTED && slice.length > 1) {
          const half = slice.length >> 1;
          waiting.unshift(slice.slice(0, half), slice.slice(half));
        } else if (code === status.RESOURCE_EXHAUSTED) {
          for (const { count } of calls) this.#dropped += count;
        } else {
          connection.refused = code === status.UNIMPLEMENTED;
          for (const row of [slice, ...waiting].flat()) this.#news.add(row);
          return;
        }
      }
    }
  }
}

function slicesOf<Call extends Countable>(
  rows: readonly Row<Call>[],
): (readonly Row<Call>[])[] {
  const slices: Row<Call>[][] = [];
  let slice: Row<Call>[] = [];
  let text = 0;
  for (const row of rows) {
    const length = lengthOf(row.call);
    if (slice.length > 0 && text + length > MOST_TEXT) {
      slices.push(slice);
      slice = [];
      text = 0;
    }
    slice.push(row);
    text += length;
  }
  return slice.length === 0 ? slices : [...slices, slice];
}

/** How many characters its texts have together. */
function lengthOf(call: object): number {
  return Object.values(call).reduce<number>(
    (sum, value) => sum + (typeof value === "string" ? value.length : 0),
    0,
  );
}

/** With the count of the last hour: the control plane replaces what it has by it. */
function reportOf<Call extends Countable>(
  { call: of, counts, first, last }: Row<Call>,
  now: number,
): Call {
  const oldest = Math.floor((now - OBSERVED_FOR) / SLOT);
  let count = 0;
  for (const [slot, some] of counts)
    if (slot <= oldest) counts.delete(slot);
    else count += some;
  return {
    ...of,
    count,
    firstAge: Math.round(now - first),
    lastAge: Math.round(now - last),
  };
}
