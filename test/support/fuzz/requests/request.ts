/** A request before it has a version: what HTTP/1 and HTTP/2 both can say, and the oddities that either of them alone can. */

export type Pair = readonly [name: string, value: string];

export interface FuzzRequest {
  readonly index: number;
  method: string;
  /** Origin form, or whatever stands for it. */
  target: string;
  /** Absolute form in HTTP/1; `:scheme` and `:authority` beside a host field in HTTP/2. */
  absolute: { readonly scheme: string; readonly authority: string } | undefined;
  /** Host lines; in HTTP/2 the first is `:authority`, unless `absolute` is there. */
  hosts: string[];
  fields: Pair[];
  /** Declared content-length, where it is declared. */
  length: string | undefined;
  /** The content, in the pieces in which it is sent. */
  chunks: string[];
  trailers: Pair[];
  /** Which versions can say this alike. */
  versions: "both" | "http1" | "http2";
  http1: Http1Oddities;
  http2: Http2Oddities;
  /** What is odd about it, for whoever reads a failure. */
  readonly notes: string[];
}

/** What only the text of HTTP/1 can have. */
export interface Http1Oddities {
  version: string;
  /** Lines put before the request line. */
  before: string;
  space: string;
  /** In place of ": ". */
  colon: string;
  lineEnd: string;
  /** Whole lines at the end of the header section. */
  lines: string[];
  /** In place of "chunked". */
  coding: string;
  chunkExtension: string;
  /** Of a chunk of this length. */
  chunkSize: (length: number) => string;
  /** Behind the message. */
  after: string;
  /** The caller ends its side behind it, since there is less of it than it says. */
  unfinished: boolean;
  /** Changes of single bytes: share of the length, kind, which. */
  mutations: (readonly [at: number, kind: number, which: number])[];
}

/** What only the frames of HTTP/2 can have. */
export interface Http2Oddities {
  /** Changes the field list before it is encoded. */
  edit: ((pairs: Pair[]) => Pair[]) | undefined;
  /** The first byte of each literal (RFC 7541 6.2): 0x00, 0x10 or 0x40. */
  literal: number;
  /** Padding of HEADERS and DATA. */
  padding: number;
  /** Bytes of the field block in each frame; 0 for as many as fit. */
  cut: number;
  /** Frames put behind HEADERS, by type, flags and payload. */
  between: (readonly [type: number, flags: number, payload: string])[];
  /** More DATA than was declared. */
  surplus: string;
  /** Trailers without END_STREAM. */
  openTrailers: boolean;
}

export function plainRequest(index: number): FuzzRequest {
  return {
    index,
    method: "GET",
    target: "/",
    absolute: undefined,
    hosts: ["orders.shop"],
    fields: [],
    length: undefined,
    chunks: [],
    trailers: [],
    versions: "both",
    http1: {
      version: "HTTP/1.1",
      before: "",
      space: " ",
      colon: ": ",
      lineEnd: "\r\n",
      lines: [],
      coding: "chunked",
      chunkExtension: "",
      chunkSize: (length) => length.toString(16),
      after: "",
      unfinished: false,
      mutations: [],
    },
    http2: {
      edit: undefined,
      literal: 0,
      padding: 0,
      cut: 0,
      between: [],
      surplus: "",
      openTrailers: false,
    },
    notes: [],
  };
}

/** The value of `x-case`, which tells the application whose request it has. */
export function caseId(
  index: number,
  listener: string,
  attempt: number,
): string {
  return `#${String(index).padStart(8, "0")}.${listener}.${String(attempt % 1000).padStart(3, "0")}#`;
}
