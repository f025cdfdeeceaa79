/** SETTINGS: what we announce, and what the peer announced (RFC 9113 6.5, RFC 8441 3). */
import type { WorkerPlace } from "../exchange.ts";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_TABLE_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  LARGEST_FRAME_SIZE,
  MAX_31,
  Setting,
} from "./frames/frames.ts";
import type { Http2Limits } from "./limits.ts";

/** Ours, as pairs of identifier and value. */
export function announce(
  limits: Http2Limits,
  isServer: boolean,
  place?: WorkerPlace,
): readonly (readonly [number, number])[] {
  const pairs: (readonly [number, number])[] = [
    [Setting.HEADER_TABLE_SIZE, limits.headerTableBytes],
    [Setting.INITIAL_WINDOW_SIZE, limits.streamWindow],
    [Setting.MAX_FRAME_SIZE, limits.frameBytes],
    [Setting.MAX_HEADER_LIST_SIZE, limits.headerListBytes],
  ];
  if (isServer)
    pairs.push(
      [Setting.MAX_CONCURRENT_STREAMS, limits.concurrentStreams],
      // RFC 8441 3: WebSocket is carried.
      [Setting.ENABLE_CONNECT_PROTOCOL, 1],
    );
  else pairs.push([Setting.ENABLE_PUSH, 0]);
  if (place !== undefined)
    pairs.push([Setting.WORKER, place.workers * 65_536 + place.worker]);
  return pairs;
}

/** The peer's, before and after it said anything. */
export class PeerSettings {
  tableSize: number = DEFAULT_TABLE_SIZE;
  /** The smallest that the last SETTINGS made of it on the way: what was in a table is gone then (RFC 7541 4.2). */
  smallestTable: number = DEFAULT_TABLE_SIZE;
  initialWindow: number = DEFAULT_WINDOW;
  frameSize: number = DEFAULT_FRAME_SIZE;
  /** Undefined: it has not said so, which means no limit (6.5.2). */
  concurrentStreams: number | undefined;
  connectProtocol = false;
  /** Undefined: it has not said so, and has one worker or is none of ours. */
  place: WorkerPlace | undefined;
}

/** Applies the entries of a SETTINGS frame in their order (6.5.3). Throws ConnectionError. */
export function readSettings(
  peer: PeerSettings,
  bytes: Buffer,
  start: number,
  end: number,
  isServer: boolean,
): void {
  if ((end - start) % 6 !== 0)
    throw new ConnectionError(
      ErrorCode.FRAME_SIZE_ERROR,
      "the length of SETTINGS is not a multiple of 6 (6.5)",
    );
  peer.smallestTable = peer.tableSize;
  for (let at = start; at < end; at += 6)
    apply(peer, bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2), isServer);
}

function apply(
  peer: PeerSettings,
  setting: number,
  value: number,
  isServer: boolean,
): void {
  switch (setting) {
    case Setting.HEADER_TABLE_SIZE:
      peer.tableSize = value;
      peer.smallestTable = Math.min(peer.smallestTable, value);
      break;
    case Setting.ENABLE_PUSH:
      // A server may say 0 at most (6.5.2).
      if (value > (isServer ? 1 : 0)) throw outside("ENABLE_PUSH", value);
      break;
    case Setting.MAX_CONCURRENT_STREAMS:
      peer.concurrentStreams = value;
      break;
    case Setting.INITIAL_WINDOW_SIZE:
      if (value > MAX_31)
        throw outside(
          "INITIAL_WINDOW_SIZE",
          value,
          ErrorCode.FLOW_CONTROL_ERROR,
        );
      peer.initialWindow = value;
      break;
    case Setting.MAX_FRAME_SIZE:
      if (value < DEFAULT_FRAME_SIZE || value > LARGEST_FRAME_SIZE)
        throw outside("MAX_FRAME_SIZE", value);
      peer.frameSize = value;
      break;
    case Setting.ENABLE_CONNECT_PROTOCOL:
      // RFC 8441 3: 0 or 1, and once on it stays on.
      if (value > 1 || (value === 0 && peer.connectProtocol))
        throw outside("ENABLE_CONNECT_PROTOCOL", value);
      peer.connectProtocol = value === 1;
      break;
    case Setting.WORKER:
      peer.place = { workers: value >>> 16, worker: value & 0xffff };
      break;
    default:
    // MAX_HEADER_LIST_SIZE is advice; others are unknown and ignored (6.5.2).
  }
}

function outside(
  name: string,
  value: number,
  code: number = ErrorCode.PROTOCOL_ERROR,
): ConnectionError {
  return new ConnectionError(
    code,
    `SETTINGS_${name} may not be ${value} (6.5.2)`,
  );
}
