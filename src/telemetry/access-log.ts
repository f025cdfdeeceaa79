/** One JSON line a request: errors and refusals always, at a bounded rate; everything when asked. */
import { timestamp, type Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { countLostLine } from "../core/machine/machine-counts.ts";
import { harmless } from "../core/text/json.ts";
import { ownCopy } from "../core/text/own-copy.ts";
import { memo } from "../core/memo.ts";
import { tokenBucket } from "../core/token-bucket.ts";
import type { SpiffeUri } from "../core/units.ts";
import {
  gatherLines,
  LONGEST_LINE,
  openLineSink,
  type LineSink,
  type LogFileSink,
} from "./line-file.ts";

export type AccessLogMode = "errors" | "all" | "none";

export interface AccessRecord {
  readonly direction: "outbound" | "inbound" | "mirror";
  readonly method: string;
  readonly authority: string;
  /** Normalised, without the query: queries carry credentials. */
  readonly path: string;
  readonly protocol: string;
  /** 0 where the exchange ended without a status. */
  readonly status: number;
  /** Our reason code, where we refused or failed. */
  readonly reason: string | undefined;
  /** "NAMESPACE/NAME" of the policy that decided. */
  readonly policy: string | undefined;
  readonly detail: string | undefined;
  readonly durationMs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly traceId: string;
  /** The caller's SPIFFE id, from its certificate. */
  readonly peer: SpiffeUri | undefined;
  /** "orders.shop:80" */
  readonly destination: string | undefined;
  readonly route: string | undefined;
  /** Address and port of the last attempt. */
  readonly endpoint: string | undefined;
  readonly attempts: number;
  /** Why attempts were repeated, in their order; undefined where none was. */
  readonly retried?: string | undefined;
  /** What a FaultInjection did to it. */
  readonly fault?: string | undefined;
  /** What a Telemetry adds. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
}

export interface AccessLog {
  /** True where `write` would do something for this record: ask before building one. `asked`: a Telemetry says so, or the contrary. */
  wants(status: number, reason: string | undefined, asked?: boolean): boolean;
  /** `asked`: at any rate. */
  write(record: AccessRecord, asked?: boolean): void;
  close(): void;
}

export interface AccessLogOptions {
  readonly mode: AccessLogMode;
  readonly clock: Clock;
  /** The file that lines are appended to; standard output where absent. */
  readonly file?: string | undefined;
  /** Takes blocks of lines in place of a file; its owner closes it. */
  readonly sink?: LineSink | undefined;
  /** This log's part of the lines of errors that the process writes a second. */
  readonly share?: number;
  /** Takes the lines in place of a file. */
  readonly write?: (line: string) => void;
}

/** Lines a second in mode "errors": a failing mesh must not also drown its disk. */
const ERRORS_A_SECOND = 100;
/** Records whose lines are put together at once: the code for it is then in the processor's caches for all but the first. */
const TOGETHER = 32;
/** Records at most of which there is no line. */
const MOST = 1024;

export function makeAccessLog(options: AccessLogOptions): AccessLog {
  const { mode, clock } = options;
  const silent = options.write !== undefined || mode === "none";
  const own =
    silent || options.sink !== undefined
      ? undefined
      : openAccessFile(options.file, clock);
  const sink = silent ? undefined : (options.sink ?? own);
  const lines = sink === undefined ? undefined : gatherLines(sink, clock);
  const rate = ERRORS_A_SECOND * (options.share ?? 1);
  const bucket = tokenBucket({ rate, burst: rate });
  const time = timestamps();
  const fragments = new Fragments();
  let suppressed = 0;
  /** What came and when, of which there is no line yet. */
  let records: AccessRecord[] = [];
  let times: number[] = [];

  function put(record: AccessRecord, wall: number): void {
    let line = lineOf(time(wall), record, suppressed, fragments);
    if (line.length > LONGEST_LINE)
      line = shortLineOf(time(wall), record, suppressed, fragments);
    options.write?.(line);
    if (lines?.write(line) !== false) suppressed = 0;
    else {
      suppressed += 1;
      countLostLine("access-log");
    }
  }

  /** The next turn of the event loop is soon enough, and the response to the last of them has left by then: at thousands of calls a second a timer would be one more thing to compile. */
  function putAllSoon(): void {
    setImmediate(() => setImmediate(putAll));
  }

  function putAll(): void {
    const due = records;
    const walls = times;
    records = [];
    times = [];
    for (const [index, record] of due.entries()) put(record, walls[index] ?? 0);
  }

  return {
    wants: (status, reason, asked) =>
      mode !== "none" &&
      (asked ?? (mode === "all" || isFailure(status, reason))),
    write(record, asked) {
      const isBound = mode === "errors" && asked !== true;
      if (isBound && !bucket.take(clock.now())) {
        suppressed += 1;
        return;
      }
      const wall = clock.wall();
      if (isBound || lines === undefined) {
        put(record, wall);
        return;
      }
      times.push(wall);
      const count = records.push(record);
      if (count === 1) lines.before(putAll);
      else if (count === TOGETHER) putAllSoon();
      else if (count === MOST) putAll();
    },
    close() {
      lines?.close();
      own?.close();
    },
  };
}

function isFailure(status: number, reason: string | undefined): boolean {
  return reason !== undefined || status >= 500 || status === 0;
}

/** The file for `sink`. Throws UserError where it cannot be opened. */
export function openAccessFile(
  path: string | undefined,
  clock: Clock,
): LogFileSink {
  try {
    return openLineSink(path, clock);
  } catch (thrown) {
    throw new UserError(
      `the access log cannot be opened: ${messageOf(thrown)}; give another with --access-log-file`,
      { cause: thrown },
    );
  }
}

/** The line, put together by hand: JSON.stringify of a copy with the time took a tenth of a request's cost. */
function lineOf(
  time: string,
  record: AccessRecord,
  suppressed: number,
  fragments: Fragments,
): string {
  const micros = Math.round(record.durationMs * 1000);
  const duration = `${Math.floor(micros / 1000)}.${thousandths(micros)}`;
  return (
    `{"time":"${time}${fragments.of(record)},"path":${quoted(record.path)},"status":${record.status}` +
    optional("reason", record.reason) +
    optional("policy", record.policy) +
    (record.detail === undefined ? "" : `,"detail":${quoted(record.detail)}`) +
    `,"durationMs":${duration},"bytesReceived":${record.bytesReceived},"bytesSent":${record.bytesSent},"traceId":"${record.traceId}"` +
    `,"attempts":${record.attempts}` +
    optional("retried", record.retried) +
    optional("fault", record.fault) +
    (record.fields === undefined
      ? ""
      : `,"fields":${harmless(JSON.stringify(record.fields))}`) +
    `${suppressed > 0 ? `,"suppressed":${suppressed}` : ""}}\n`
  );
}

/** Characters that are left of each text of a caller where the line is too long: the first that make it short enough, as escapes may make six of one. */
const SHORTER = [4096, 1024, 256, 64];

/** The first that fits of the lines whose texts are cut, which says so. */
function shortLineOf(
  time: string,
  record: AccessRecord,
  suppressed: number,
  fragments: Fragments,
): string {
  let line = "";
  for (const most of SHORTER) {
    const short = lineOf(time, cutTo(most, record), suppressed, fragments);
    line = `${short.slice(0, -"}\n".length)},"truncated":true}\n`;
    if (line.length <= LONGEST_LINE) break;
  }
  return line;
}

/** What a caller may make long, cut. */
function cutTo(most: number, record: AccessRecord): AccessRecord {
  const { method, authority, path, detail, destination, fields } = record;
  return {
    ...record,
    method: method.slice(0, most),
    authority: authority.slice(0, most),
    path: path.slice(0, most),
    detail: detail?.slice(0, most),
    destination: destination?.slice(0, most),
    fields:
      fields &&
      Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [
          name,
          value.slice(0, most),
        ]),
      ),
  };
}

/** The part of a line that many requests share, from behind the time, with what it was made of. */
interface Fragment {
  readonly direction: string;
  readonly method: string;
  readonly authority: string;
  readonly protocol: string;
  readonly peer: SpiffeUri | undefined;
  readonly route: string | undefined;
  readonly endpoint: string | undefined;
  readonly text: string;
}

/** Fragments kept of one destination: callers, routes and endpoints that take turns. */
const KEPT = 16;
/** Destinations: beyond them all are forgotten. */
const DESTINATIONS = 512;

/** Fragments that are found again by comparing what they were made of, which nearly always is the very same text. */
class Fragments {
  readonly #known = new Map<
    string | undefined,
    { readonly ring: Fragment[]; next: number }
  >();

  of(record: AccessRecord): string {
    const kept = this.#known.get(record.destination);
    if (kept !== undefined)
      for (const each of kept.ring)
        if (
          each.endpoint === record.endpoint &&
          each.peer === record.peer &&
          each.route === record.route &&
          each.direction === record.direction &&
          each.method === record.method &&
          each.authority === record.authority &&
          each.protocol === record.protocol
        )
          return each.text;
    return this.#add(record);
  }

  #add(record: AccessRecord): string {
    const { direction, method, authority, protocol } = record;
    const { peer, destination, route, endpoint } = record;
    const text =
      `","direction":"${direction}","method":${quoted(method)},"authority":${quoted(authority)},"protocol":${quoted(protocol)}` +
      optional("peer", peer) +
      optional("destination", destination) +
      optional("route", route) +
      optional("endpoint", endpoint);
    if (text.length > LONGEST_FRAGMENT) return text;
    let kept = this.#known.get(destination);
    if (kept === undefined) {
      if (this.#known.size >= DESTINATIONS) this.#known.clear();
      kept = { ring: [], next: 0 };
      this.#known.set(destination, kept);
    }
    // A caller's texts are views of its whole head, credentials included: what outlives the request are copies of their own.
    kept.ring[kept.next] = {
      direction,
      method: ownCopy(method),
      authority: ownCopy(authority),
      protocol,
      peer,
      route,
      endpoint,
      text: ownCopy(text),
    };
    kept.next = (kept.next + 1) % KEPT;
    return text;
  }
}

const LONGEST_FRAGMENT = 1024;

function optional(name: string, text: string | undefined): string {
  return text === undefined ? "" : `,"${name}":${quotedName(text)}`;
}

/** Printable ASCII but the quotation mark and the backslash: a JSON string has it as it is (RFC 8259 7). */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : harmless(JSON.stringify(text));
}

/** Names of the mesh, of which there are few. */
const quotedName: (name: string) => string = memo(quoted);

/** "000" to "999": to make the text of a fraction anew for each line takes V8 as long as the rest of it. */
const THOUSANDTHS: readonly string[] = Array.from({ length: 1000 }, (_, at) =>
  String(at).padStart(3, "0"),
);

/** The three digits behind the point, of so many thousandths. */
function thousandths(count: number): string {
  return THOUSANDTHS[Math.floor(count) % 1000] ?? "";
}

/** Wall milliseconds as `timestamp` writes them; the part that a whole second shares is made once for it. */
function timestamps(): (wall: number) => string {
  let second = Number.NaN;
  let prefix = "";
  return (wall) => {
    const now = Math.floor(wall / 1000);
    if (now !== second) {
      second = now;
      prefix = timestamp(now * 1000).slice(0, -"000Z".length);
    }
    return `${prefix}${thousandths(wall)}Z`;
  };
}
