/** The tables of HTTP/2's grammar in requests that concern more than the fields of a head: content, trailers, frames, field blocks. */
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import {
  block,
  data,
  frame,
  headers,
  settings,
  uint32,
  windowUpdate,
  type Pairs,
} from "../http2/raw-peer.ts";

const { PROTOCOL_ERROR, COMPRESSION_ERROR, STREAM_CLOSED } = ErrorCode;
const { END_STREAM, END_HEADERS, PADDED, PRIORITY } = Flag;

/** Makes the fields of a request that gets through, with `more`. */
type Make = (method: string, ...more: Pairs) => Pairs;
type Post = (...more: Pairs) => Pairs;

type Broken = readonly [
  what: string,
  frames: (id: number, post: Post) => Buffer[],
];
function broken(...row: Broken): Broken {
  return row;
}

type Accepted = readonly [
  what: string,
  frames: (id: number, make: Make) => Buffer[],
  overHttp1: string,
  overHttp2: string,
];
function accepted(...row: Accepted): Accepted {
  return row;
}

type Refused = readonly [
  what: string,
  frames: (fields: Buffer) => Buffer[],
  code: number,
];
function refused(...row: Refused): Refused {
  return row;
}

/** A request head is complete and its content, or its end, breaks the rules. The application may have its beginning; never the whole. */
export const BROKEN: readonly Broken[] = [
  broken("more DATA than content-length", (id, post) => [
    headers(id, post(["content-length", "4"]), false),
    data(id, "12345", true),
  ]),
  broken("more DATA than content-length, in a second frame", (id, post) => [
    headers(id, post(["content-length", "4"]), false),
    data(id, "123"),
    data(id, "45", true),
  ]),
  broken("DATA with a content-length of 0", (id, post) => [
    headers(id, post(["content-length", "0"]), false),
    data(id, "x", true),
  ]),
  broken("less DATA than content-length", (id, post) => [
    headers(id, post(["content-length", "4"]), false),
    data(id, "123", true),
  ]),
  broken("less DATA than content-length, and trailers", (id, post) => [
    headers(id, post(["content-length", "4"]), false),
    data(id, "123"),
    headers(id, [["x-t", "1"]]),
  ]),
  broken("no DATA where content-length has some", (id, post) => [
    headers(id, post(["content-length", "4"]), false),
    data(id, "", true),
  ]),
  ...(
    [
      ["a pseudo-header in trailers", [":path", "/"]],
      ["an upper-case name in trailers", ["X-T", "1"]],
      ["a CR in a trailer", ["x-t", "a\rb: c"]],
      ["connection in trailers", ["connection", "close"]],
      ["transfer-encoding in trailers", ["transfer-encoding", "chunked"]],
      ["content-length in trailers", ["content-length", "0"]],
      ["host in trailers", ["host", "other"]],
      ["authorization in trailers", ["authorization", "x"]],
      ["the mesh's own in trailers", ["x-wherry-destination", "a.b:1"]],
    ] as const
  ).map(
    ([what, pair]) =>
      [
        what,
        (id: number, post: Post): Buffer[] => [
          headers(id, post(), false),
          data(id, "body"),
          headers(id, [pair]),
        ],
      ] as const,
  ),
  broken("a second field section without END_STREAM", (id, post) => [
    headers(id, post(), false),
    headers(id, [["x-t", "1"]], false),
    data(id, "body", true),
  ]),
  broken("a second request head on the same stream", (id, post) => [
    headers(id, post(), false),
    headers(id, post(), true),
  ]),
];

/** What a request may be like, and the one message that each kind of application gets. */
export const ACCEPTED: readonly Accepted[] = [
  accepted(
    "cookie crumbs become one line in HTTP/1 (8.2.3)",
    (id, make) => [
      headers(
        id,
        make("GET", ["cookie", "a=1"], ["x", "y"], ["cookie", "b=2"]),
      ),
    ],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n",
    ":method: GET\ncookie: a=1\nx: y\ncookie: b=2\n",
  ),
  accepted(
    "host beside :authority says the same, and goes",
    (id, make) => [headers(id, make("GET", ["host", "ORDERS.shop"]))],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\n\r\n",
    ":method: GET\n",
  ),
  accepted(
    "host in place of :authority",
    (id, make) => [
      headers(id, [
        ...make("GET").filter(([name]) => name !== ":authority"),
        ["host", "orders.shop"],
      ]),
    ],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\n\r\n",
    ":method: GET\n",
  ),
  accepted(
    "values of any visible octets, blanks within, and none at all",
    (id, make) => [
      headers(id, make("GET", ["x", "a\t b"], ["y", "\xe4\xff"], ["z", ""])),
    ],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\nx: a\t b\r\ny: \xe4\xff\r\nz: \r\n\r\n",
    ":method: GET\nx: a\t b\ny: \xe4\xff\nz: \n",
  ),
  accepted(
    "names of every token character",
    (id, make) => [headers(id, make("GET", ["x!#$%&'*+-.^_`|~9", "1"]))],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\nx!#$%&'*+-.^_`|~9: 1\r\n\r\n",
    ":method: GET\nx!#$%&'*+-.^_`|~9: 1\n",
  ),
  accepted(
    "a method that few know",
    (id, make) => [headers(id, make("PROPFIND"))],
    "PROPFIND /row HTTP/1.1\r\nhost: orders.shop\r\n\r\n",
    ":method: PROPFIND\n",
  ),
  accepted(
    "identity and steering of the caller's own making are taken out (law 5)",
    (id, make) => [
      headers(
        id,
        make(
          "GET",
          ["x-forwarded-client-cert", "By=spiffe://a"],
          ["x-wherry-reason", "DENIED"],
          ["x", "1"],
        ),
      ),
    ],
    "GET /row HTTP/1.1\r\nhost: orders.shop\r\nx: 1\r\n\r\n",
    ":method: GET\nx: 1\n",
  ),
  accepted(
    "content with a length keeps it",
    (id, make) => [
      headers(id, make("POST", ["content-length", "4"]), false),
      data(id, "bo"),
      data(id, ""),
      data(id, "dy", true),
    ],
    "POST /row HTTP/1.1\r\nhost: orders.shop\r\ncontent-length: 4\r\n\r\nbody",
    ":method: POST\ncontent-length: 4\nbody",
  ),
  accepted(
    "no content with a length of 0 keeps it",
    (id, make) => [headers(id, make("POST", ["content-length", "0"]))],
    "POST /row HTTP/1.1\r\nhost: orders.shop\r\ncontent-length: 0\r\n\r\n",
    ":method: POST\ncontent-length: 0\n",
  ),
  accepted(
    "content of unknown length is chunked in HTTP/1, with its trailers",
    (id, make) => [
      headers(id, make("POST"), false),
      data(id, "body"),
      headers(id, [["x-t", "1"]]),
    ],
    "POST /row HTTP/1.1\r\nhost: orders.shop\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-t: 1\r\n\r\n",
    ":method: POST\nbodyx-t: 1\n",
  ),
  accepted(
    "padding, priority, flags without meaning and the reserved bit stay behind (4.1, 6.1, 6.2)",
    (id, make) => {
      const fields = block(make("POST", ["content-length", "4"]));
      const padded = Buffer.concat([
        Buffer.from([3, 0, 0, 0, 0, 16]),
        fields,
        Buffer.from("pad"),
      ]);
      const content = frame(FrameType.DATA, 0xf1 | PADDED, id, "\x02bodyxx");
      content.writeUInt32BE((id | 0x80000000) >>> 0, 5);
      return [
        frame(1, END_HEADERS | PADDED | PRIORITY | 0x42, id, padded),
        content,
      ];
    },
    "POST /row HTTP/1.1\r\nhost: orders.shop\r\ncontent-length: 4\r\n\r\nbody",
    ":method: POST\ncontent-length: 4\nbody",
  ),
  accepted(
    "frames of unknown types between the others mean nothing (5.5)",
    (id, make) => [
      frame(0xbe, 0xff, id, "GET / HTTP/1.1\r\n\r\n"),
      headers(id, make("POST", ["content-length", "4"]), false),
      frame(0x10, 0, 0, uint32(id)),
      data(id, "body"),
      frame(0xbe, 0xff, id, "more"),
      data(id, "", true),
    ],
    "POST /row HTTP/1.1\r\nhost: orders.shop\r\ncontent-length: 4\r\n\r\nbody",
    ":method: POST\ncontent-length: 4\nbody",
  ),
];

/** Errors of the connection (5.4.1) by a field block, while a request of the same block would be one that passes. */
export const CONNECTION_ERRORS: readonly Refused[] = [
  ...(
    [
      ["DATA", data(1, "x")],
      ["PING", frame(FrameType.PING, 0, 0, "12345678")],
      ["SETTINGS", settings()],
      ["WINDOW_UPDATE", windowUpdate(1, 1)],
      ["RST_STREAM", frame(FrameType.RST_STREAM, 0, 1, uint32(8))],
      ["PRIORITY", frame(FrameType.PRIORITY, 0, 1, "\0\0\0\0\0")],
      ["an unknown frame", frame(0xbe, 0, 1, "x")],
      ["GOAWAY", frame(FrameType.GOAWAY, 0, 0, "12345678")],
    ] as const
  ).map(
    ([what, between]) =>
      [
        `${what} within a field block (4.3)`,
        (fields: Buffer): Buffer[] => [
          frame(1, END_STREAM, 1, fields.subarray(0, 20)),
          between,
          frame(9, END_HEADERS, 1, fields.subarray(20)),
        ],
        PROTOCOL_ERROR,
      ] as const,
  ),
  refused(
    "CONTINUATION of a block that is complete (6.10)",
    (fields) => [
      frame(1, END_HEADERS, 1, fields),
      frame(9, END_HEADERS, 1, block([["x", "1"]])),
    ],
    PROTOCOL_ERROR,
  ),
  refused(
    "HEADERS with more padding than there is (6.2)",
    (fields) => [
      frame(1, 5 | PADDED, 1, Buffer.concat([Buffer.from([255]), fields])),
    ],
    PROTOCOL_ERROR,
  ),
  refused(
    "DATA with as much padding as there is (6.1)",
    (fields) => [
      frame(1, END_HEADERS, 1, fields),
      frame(0, PADDED | END_STREAM, 1, "\x05abcd"),
    ],
    PROTOCOL_ERROR,
  ),
  refused(
    "HEADERS on an even stream",
    (f) => [frame(1, 5, 2, f)],
    PROTOCOL_ERROR,
  ),
  refused(
    "HEADERS on stream 0",
    (fields) => [frame(1, 5, 0, fields)],
    PROTOCOL_ERROR,
  ),
  refused(
    "PUSH_PROMISE of a client (8.4)",
    (fields) => [frame(5, 4, 1, Buffer.concat([uint32(2), fields]))],
    PROTOCOL_ERROR,
  ),
  refused(
    "HEADERS after the stream's RST_STREAM (5.1)",
    (fields) => [
      frame(1, END_HEADERS, 1, fields),
      frame(3, 0, 1, uint32(8)),
      frame(1, 5, 1, fields),
    ],
    STREAM_CLOSED,
  ),
  ...(
    [
      ["index 0", [0x80]],
      ["an index outside the tables", [0xbe]],
      ["a name outside the tables", [0x7e, 1, 0x61]],
      ["a string that is cut off", [0x00, 0x05, 0x61]],
      ["a length that is cut off", [0x00, 0x7f]],
      ["an integer of more than 28 bits", [0xff, 0xff, 0xff, 0xff, 0xff, 1]],
      ["Huffman code with EOS in it", [0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]],
      ["Huffman code with a whole octet of padding", [0, 0x82, 0x1f, 0xff, 0]],
      ["a table larger than announced", [0x3f, 0xff, 0xff, 0x03]],
      ["a third change of the table's size", [0x20, 0x21, 0x22]],
      ["a change of the table's size behind a field", [0x82, 0x20]],
    ] as const
  ).map(
    ([what, octets]) =>
      [
        `a field block with ${what} (RFC 7541)`,
        (fields: Buffer): Buffer[] => [
          frame(
            1,
            END_HEADERS | END_STREAM,
            1,
            // A change of size must stand first to be one of its kind.
            octets[0] === 0x20 || octets[0] === 0x3f
              ? Buffer.concat([Buffer.from(octets), fields])
              : Buffer.concat([fields, Buffer.from(octets)]),
          ),
        ],
        COMPRESSION_ERROR,
      ] as const,
  ),
];
