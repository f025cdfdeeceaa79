/** What has come in at this sidecar in the last hour, bounded: reported to the control plane as it changes, and all of it at each connection. */
import { status, type Client } from "@grpc/grpc-js";
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Observed, ObservedCall } from "../../push/messages.ts";
import { MOST_OBSERVED, OBSERVED_FOR } from "../../push/names.ts";
import { REGISTRATION } from "../../push/services.ts";
import { LOOK_AGAIN, type SharedObservations } from "../agent.ts";
import { call, CallError } from "../connection.ts";

/** Milliseconds in which news is gathered. */
const GATHER = 1000;
/** Milliseconds between two reports. */
const PAUSE = 10_000;
const TIMEOUT = 5000;
/** Milliseconds for which calls are counted together; an hour has twelve of them. */
const SLOT = OBSERVED_FOR / 12;

interface Connection {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** The control plane does not know of such reports. */
  refused: boolean;
}

interface Row {
  readonly call: ObservedCall;
  /** How many came in each slot, by the slot's number. */
  readonly counts: Map<number, number>;
  readonly first: number;
  last: number;
}

export interface ObservationsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Observations implements SharedObservations {
  readonly #options: ObservationsOptions;
  readonly #rows = new Map<string, Row>();
  /** Those that the control plane does not have as they are. */
  readonly #news = new Set<Row>();
  #dropped = 0;
  #connection: Connection | undefined;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #cancelFlush: Cancel | undefined;
  #closed = false;

  constructor(options: ObservationsOptions) {
    this.#options = options;
  }

  /** The stream is open: reports go over this client until the signal aborts. It may be of a control plane that knows nothing yet. */
  connected(client: Client, signal: AbortSignal): void {
    this.#connection = { client, signal, refused: false };
    for (const row of this.#rows.values()) this.#news.add(row);
    this.#flushSoon();
  }

  watch(look: () => Observed): Cancel {
    return this.#options.clock.every(LOOK_AGAIN, () => this.tell(look()));
  }

  tell({ calls, dropped }: Observed): void {
    if (this.#closed) return;
    this.#dropped += dropped;
    const now = this.#options.clock.now();
    for (const each of calls) this.#add(each, now);
    this.#flushSoon();
  }

  close(): void {
    this.#closed = true;
    this.#cancelFlush?.();
  }

  #add(observed: ObservedCall, now: number): void {
    const { policy, effect, peer, address, port, method, path } = observed;
    const key = [policy, effect, peer, address, port, method, path].join(" ");
    let row = this.#rows.get(key);
    if (row === undefined) {
      if (this.#rows.size >= MOST_OBSERVED) this.#forgetOld(now);
      if (this.#rows.size >= MOST_OBSERVED) {
        this.#dropped += observed.count;
        return;
      }
      row = { call: observed, counts: new Map(), first: now, last: now };
      this.#rows.set(key, row);
    }
    const slot = Math.floor(now / SLOT);
    row.counts.set(slot, (row.counts.get(slot) ?? 0) + observed.count);
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

  #flushSoon(): void {
    const { clock } = this.#options;
    if (this.#closed || this.#news.size === 0) return;
    const wait = Math.max(
      GATHER * clock.random(),
      this.#reportedAt + PAUSE - clock.now(),
    );
    this.#cancelFlush ??= clock.after(wait, () => {
      this.#cancelFlush = undefined;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const { clock, logger } = this.#options;
    const connection = this.#connection;
    if (
      connection === undefined ||
      connection.signal.aborted ||
      connection.refused
    )
      return;
    const now = clock.now();
    this.#forgetOld(now);
    const rows = [...this.#news];
    this.#news.clear();
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#reportedAt = now;
    const { client, signal } = connection;
    const calls = rows.map((row) => reportOf(row, now));
    try {
      await call(
        client,
        REGISTRATION.Observe,
        { calls, dropped },
        { clock, signal, timeout: TIMEOUT },
      );
    } catch (thrown) {
      connection.refused =
        thrown instanceof CallError && thrown.code === status.UNIMPLEMENTED;
      this.#dropped += dropped;
      for (const row of rows) this.#news.add(row);
      logger.debug(
        { reason: messageOf(thrown) },
        "what has come in was not reported",
      );
    }
  }
}

/** With the count of the last hour: the control plane replaces what it has by it. */
function reportOf(
  { call: of, counts, first, last }: Row,
  now: number,
): ObservedCall {
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
