/** What a thread sends home in bulk: blocks of the access log, and spans; each bounded, and neither lost at the end. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { LineSink } from "../../telemetry/line-file.ts";
import type { SpanRecord, SpanSink } from "../../telemetry/tracing.ts";
import type { FromThread } from "./protocol.ts";

/** Sends a message to the main thread; what is in `transfer` is its own from then on. */
export type Post = (message: FromThread, transfer?: ArrayBuffer[]) => void;

export interface RemoteLines extends LineSink {
  /** A block came back. */
  written(block: Uint8Array): void;
}

/** Lines are written by the main thread alone, so that those of all workers stay whole, whatever they are written to. */
export function remoteLines(post: Post): RemoteLines {
  let done: ((block: Buffer) => void) | undefined;
  const send = (block: Buffer, length: number, last: boolean): void => {
    const { buffer } = block;
    post(
      { kind: "lines", block, length, last },
      buffer instanceof ArrayBuffer ? [buffer] : [],
    );
  };
  return {
    take(block, length, onDone) {
      done = onDone;
      send(block, length, false);
    },
    last: (block, length) => send(block, length, true),
    close: nothing,
    written({ buffer, byteOffset, byteLength }) {
      done?.(Buffer.from(buffer, byteOffset, byteLength));
    },
  };
}

function nothing(): void {
  // The file is the main thread's.
}

export interface RemoteSpans {
  readonly sink: SpanSink;
  /** The main thread has taken a batch. */
  taken(): void;
  /** Sends what is left. */
  flush(): void;
  /** Spans that found no room. */
  readonly dropped: number;
}

/** Spans of one message: it costs as much as many of them. */
const BATCH = 128;
/** Milliseconds that a span waits for others. */
const WAIT = 100;
/** Messages that the main thread has not taken, and spans that wait for it. */
const UNDER_WAY = 8;
const WAITING_AT_MOST = 4096;

export function remoteSpans(post: Post, clock: Clock): RemoteSpans {
  let waiting: SpanRecord[] = [];
  let underWay = 0;
  let dropped = 0;
  let cancel: Cancel | undefined;

  const send = (): void => {
    cancel?.();
    cancel = undefined;
    if (waiting.length === 0) return;
    const spans = waiting;
    waiting = [];
    underWay += 1;
    post({ kind: "spans", spans });
  };
  return {
    sink(span) {
      if (waiting.length >= WAITING_AT_MOST) {
        dropped += 1;
        return;
      }
      waiting.push(span);
      if (underWay >= UNDER_WAY) return;
      if (waiting.length >= BATCH) send();
      else cancel ??= clock.after(WAIT, send);
    },
    taken() {
      underWay -= 1;
      if (waiting.length >= BATCH) send();
      else if (waiting.length > 0) cancel ??= clock.after(WAIT, send);
    },
    flush: send,
    get dropped() {
      return dropped;
    },
  };
}
