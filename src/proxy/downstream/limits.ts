/** What all callers together may cost this process; what one connection may cost stands with its codec (`wire/http1/limits.ts`, `wire/http2/limits.ts`). */
import { readFileSync } from "node:fs";
import type { Bytes } from "../../core/units.ts";
import type { TransferLimits } from "../exchange/time/transfer-rate.ts";

export interface SidecarLimits extends TransferLimits {
  /** Open connections of callers, on all listeners. */
  readonly connections: number;
  /** Connections on one listener: it must not shut the others. */
  readonly connectionsPerListener: number;
  /** Connections from one address (IPv6: one /64) on the listeners that strangers reach. The application's own are not counted. */
  readonly connectionsPerAddress: number;
  /** Connections with one SPIFFE ID: all instances of a workload together. */
  readonly connectionsPerIdentity: number;
  /** HTTP/2 streams that are open on all connections from one address; four times as many of one identity. */
  readonly streamsPerAddress: number;
  /** Exchanges in flight. */
  readonly requests: number;
  /**
   * Milliseconds that a connection of the own application over HTTP/1.1 waits for the next request. A call that is sent while it is closed
   * fails, so this is longer than clients keep theirs.
   */
  readonly idleLocal: number;
  /** Milliseconds that a connection of the link is kept without a stream: the caller's pool lets go of it first, after an hour. */
  readonly idleLink: number;
  /** Bytes held of messages, on both sides of the proxy: what is read where they reach it stops. */
  readonly bufferedBytes: Bytes;
  /** Bytes of resident memory; 0 where nobody limits it. */
  readonly memoryBytes: Bytes;
}

/** What can be set; the rest follows from it. */
export interface LimitOptions {
  readonly connections?: number;
  readonly connectionsPerAddress?: number;
  readonly bodyRate?: number;
  /** Bytes; what the container may use where absent. */
  readonly memoryBytes?: Bytes;
  /** Bytes; no option of the command sets it. */
  readonly bufferedBytes?: Bytes;
  /** Exchanges in flight; no option of the command sets it. */
  readonly requests?: number;
}

/** What the process may use, as it finds it. */
export interface Allowance {
  /** File descriptors. */
  readonly descriptors: number;
  /** Bytes of memory; 0 where there is no limit. */
  readonly memoryBytes: Bytes;
}

export const DEFAULT_LIMITS: SidecarLimits = {
  connections: 16_384,
  connectionsPerListener: 12_288,
  connectionsPerAddress: 1024,
  connectionsPerIdentity: 4096,
  // As many requests as its connections could make over HTTP/1.1.
  streamsPerAddress: 1024,
  requests: 16_384,
  // IIS's and Kestrel's figure, with twice Kestrel's grace.
  bodyRate: 240,
  sendGrace: 10_000,
  // nginx's `send_timeout`.
  takeTimeout: 60_000,
  shortTimeout: 5000,
  // Envoy's `idle_timeout`.
  idleLocal: 3_600_000,
  idleLink: 3_900_000,
  bufferedBytes: 268_435_456,
  memoryBytes: 0,
};

/** All instances of a workload together may do so many times what one address may. */
export const IDENTITY_SHARE = 4;

/** Descriptors that are needed for other things than calls; no more than half of all, or with a limit of 256 nobody could call. */
const OTHER_DESCRIPTORS = 256;
/** Part of the memory that messages may take: they cost as much again on their way, and so do the connections and exchanges that they belong to. */
export const MESSAGES = 16;
/** Bytes of memory for each exchange at one time, and for each connection: several times what one takes besides its messages. */
export const EXCHANGE = 131_072;
export const CONNECTION = 32_768;
/** However little memory there is: exchanges, connections, and bytes of messages. */
const LEAST = 1024;
const LEAST_MESSAGES = 8_388_608;

export function resolveLimits(
  options: LimitOptions = {},
  allowance: Allowance = allowanceOfProcess(),
): SidecarLimits {
  const memoryBytes = options.memoryBytes ?? allowance.memoryBytes;
  const within = (most: number, part: number, least: number): number =>
    memoryBytes > 0
      ? Math.max(least, Math.min(most, Math.ceil(memoryBytes / part)))
      : most;
  const requests =
    options.requests ?? within(DEFAULT_LIMITS.requests, EXCHANGE, LEAST);
  const wanted =
    options.connections ??
    within(DEFAULT_LIMITS.connections, CONNECTION, LEAST);
  // Each connection may need another one, to the upstream.
  const { descriptors } = allowance;
  const possible = Math.floor(
    Math.max(descriptors - OTHER_DESCRIPTORS, descriptors / 2) / 2,
  );
  const connections = Math.max(1, Math.min(wanted, possible));
  const perAddress =
    options.connectionsPerAddress ?? DEFAULT_LIMITS.connectionsPerAddress;
  return {
    ...DEFAULT_LIMITS,
    connections,
    connectionsPerListener: Math.ceil(connections * 0.75),
    connectionsPerAddress: perAddress,
    connectionsPerIdentity: perAddress * IDENTITY_SHARE,
    streamsPerAddress: Math.min(perAddress, Math.ceil(requests / 4)),
    bodyRate: options.bodyRate ?? DEFAULT_LIMITS.bodyRate,
    requests,
    bufferedBytes:
      options.bufferedBytes ??
      within(DEFAULT_LIMITS.bufferedBytes, MESSAGES, LEAST_MESSAGES),
    memoryBytes,
  };
}

function allowanceOfProcess(): Allowance {
  // No limit is a number beyond all memory there is.
  const memory = process.constrainedMemory();
  return {
    descriptors: descriptorLimit(),
    memoryBytes: memory > Number.MAX_SAFE_INTEGER ? 0 : memory,
  };
}

/** Node has raised the soft limit to the hard one when it started. */
function descriptorLimit(): number {
  try {
    const text = readFileSync("/proc/self/limits", "latin1");
    const [, soft] = /^Max open files\s+(\d+)/m.exec(text) ?? [];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    // Not Linux.
    return Number.POSITIVE_INFINITY;
  }
}

/** One worker's part, where the process has several: connections are counted over all of them, and memory is the process's. */
export function shareOf(limits: SidecarLimits, workers: number): SidecarLimits {
  return {
    ...limits,
    requests: Math.ceil(limits.requests / workers),
    bufferedBytes: Math.ceil(limits.bufferedBytes / workers),
  };
}
