/** The vocabulary of HTTP/2 frames: types, flags, error codes, settings (RFC 9113 sections 6, 7 and 11). */
import type { Http2Limit } from "../limits.ts";

/** The nine bytes before every payload (4.1). */
export const FRAME_HEADER = 9;

/** What a client sends first (3.4). */
export const PREFACE: Buffer = Buffer.from(
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "latin1",
);

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
  /** In the range that nobody else is given: what one sidecar tells another about no stream in particular (5.5). A receiver that does not know it skips it. */
  NOTICE: 0xf7,
} as const;

export const Flag = {
  END_STREAM: 0x1,
  ACK: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

/** Error codes of RST_STREAM and GOAWAY (7). */
export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

const ERROR_NAMES: readonly string[] = Object.keys(ErrorCode);

/** "CANCEL" for 8; unknown codes are legal and shown as numbers (7). */
export function errorName(code: number): string {
  return ERROR_NAMES[code] ?? `error 0x${code.toString(16)}`;
}

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
  /** RFC 8441 3. */
  ENABLE_CONNECT_PROTOCOL: 8,
  /** In the range that nobody else is given (11.3): which of a sidecar's workers serves the connection, and of how many. */
  WORKER: 0xf0a7,
} as const;

/** The largest flow-control window (6.9.1), stream identifier (5.1.1) and so on: 31 bits. */
export const MAX_31 = 0x7fffffff;
/** SETTINGS_INITIAL_WINDOW_SIZE, and the connection's window, before anybody said otherwise (6.9.2). */
export const DEFAULT_WINDOW = 65_535;
/** SETTINGS_MAX_FRAME_SIZE before anybody said otherwise; also the least that may be said (6.5.2). */
export const DEFAULT_FRAME_SIZE = 16_384;
/** The most that SETTINGS_MAX_FRAME_SIZE may say (6.5.2). */
export const LARGEST_FRAME_SIZE = 0xffffff;
/** SETTINGS_HEADER_TABLE_SIZE before anybody said otherwise (6.5.2). */
export const DEFAULT_TABLE_SIZE = 4096;

/** The peer broke the rules of the connection as a whole, or a limit: GOAWAY with `code`, then the end (5.4.1). */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: number;
  /** The limit that acted, where it was one. */
  readonly limit: Http2Limit | undefined;

  constructor(code: number, detail: string, limit?: Http2Limit) {
    super(detail);
    this.code = code;
    this.limit = limit;
  }
}

/** A connection error of code PROTOCOL_ERROR. */
export function protocolError(detail: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, detail);
}

/** Throws a connection error where the payload of a frame is not of `right` bytes. */
export function expectSize(size: number, right: number, what: string): void {
  if (size !== right)
    throw new ConnectionError(
      ErrorCode.FRAME_SIZE_ERROR,
      `${what} of ${size} bytes instead of ${right}`,
    );
}

/** A connection error of code ENHANCE_YOUR_CALM, which `limit` caused. */
export function calmDown(limit: Http2Limit, detail: string): ConnectionError {
  return new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, detail, limit);
}
