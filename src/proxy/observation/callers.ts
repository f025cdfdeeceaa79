/**
 * The calls that a workload gets, by caller, port, method and path, each with a count, kept until they are reported. On the path of every
 * request, so that it is a few look-ups by texts that are there already, and one increment.
 */
import type { ObservedCall } from "../../push/messages.ts";
import { PathCounts } from "./path-counts.ts";

/** Distinct callers between two drains; one more is counted and not named. */
const MOST_CALLERS = 512;
/** Distinct paths of one caller, port and method; the others are counted together. */
const MOST_PATHS = 16;
/** Characters of a path that is named: what is longer is counted with the others. */
export const LONGEST_PATH = 256;
/** Rows in all. */
const MOST_ROWS = 2048;

/** What authorization knows of a call. */
interface Seen {
  /** SPIFFE id; undefined on plaintext. */
  readonly peer: string | undefined;
  /** The caller's; undefined where that is not known. */
  readonly address: string | undefined;
  /** The application's. */
  readonly port: number;
  /** Undefined for bytes that are not HTTP. */
  readonly request:
    | {
        readonly method: string;
        readonly host: string;
        readonly path: string;
      }
    | undefined;
}

/** One caller, port and method. */
interface Calls {
  readonly peer: string;
  readonly address: string;
  readonly port: number;
  readonly method: string;
  readonly paths: PathCounts;
}

type Ports = Map<number, Map<string, Calls>>;

export class Callers {
  #callers = new Map<string, Ports>();
  #rows = 0;
  #dropped = 0;
  /** Those of the call before, as the next one is mostly like it. */
  #latest: Calls | undefined;

  add({ peer, address = "", port, request }: Seen): void {
    const method = request === undefined ? "" : request.method;
    const calls = this.#callsOf(peer, address, port, method);
    if (calls === undefined) {
      this.#dropped += 1;
      return;
    }
    this.#latest = calls;
    const path = request === undefined ? "" : request.path;
    if (!calls.paths.count(path))
      this.#addRow(calls, path, request === undefined ? "" : request.host);
  }

  /** What has come since the last time, and how many calls found no room. */
  drain(): {
    readonly calls: readonly ObservedCall[];
    readonly dropped: number;
  } {
    const calls: ObservedCall[] = [];
    for (const ports of this.#callers.values())
      for (const methods of ports.values())
        for (const { peer, address, port, method, paths } of methods.values())
          for (const { path, host, count } of paths.rows)
            calls.push({
              ...{ policy: "", effect: "", peer, address, port },
              ...{ method, host, path, count, firstAge: 0, lastAge: 0 },
            });
    const dropped = this.#dropped;
    this.#callers = new Map();
    this.#latest = undefined;
    this.#rows = this.#dropped = 0;
    return { calls, dropped };
  }

  #callsOf(
    peer: string | undefined,
    address: string,
    port: number,
    method: string,
  ): Calls | undefined {
    const latest = this.#latest;
    if (
      latest !== undefined &&
      latest.port === port &&
      latest.method === method &&
      (peer === undefined
        ? latest.peer === "" && latest.address === address
        : latest.peer === peer)
    )
      return latest;
    // No address looks like an identity.
    const caller = peer ?? address;
    let ports = this.#callers.get(caller);
    if (ports === undefined) {
      if (this.#callers.size >= MOST_CALLERS) return undefined;
      ports = new Map();
      this.#callers.set(caller, ports);
    }
    let methods = ports.get(port);
    if (methods === undefined) {
      methods = new Map();
      ports.set(port, methods);
    }
    let calls = methods.get(method);
    if (calls === undefined) {
      if (this.#rows >= MOST_ROWS) return undefined;
      calls = {
        ...{ peer: peer ?? "", address: peer === undefined ? address : "" },
        ...{ port, method, paths: new PathCounts() },
      };
      methods.set(method, calls);
    }
    return calls;
  }

  /** A path that finds no room is counted with the others that found none, as "". */
  #addRow({ paths }: Calls, path: string, host: string): void {
    const isFull =
      paths.rows.length >= MOST_PATHS ||
      this.#rows >= MOST_ROWS ||
      path.length > LONGEST_PATH;
    const key = isFull ? "" : path;
    if (isFull && paths.count(key)) return;
    // The row of the others is there once for each caller, port and method, of which there are not more than rows.
    paths.add(key, host);
    this.#rows += 1;
  }
}
