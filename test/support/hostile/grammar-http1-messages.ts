/** HTTP/1 messages for fuzzing: valid ones as the productions that they are made of (RFC 9112), and what may go wrong with each production. */
import fc from "fast-check";

/** A production of the grammar, for which `WRONG` has texts that are not it, or are it in an unusual way. */
type Production =
  | "method"
  | "SP"
  | "request-target"
  | "HTTP-version"
  | "status-code"
  | "reason-phrase"
  | "CRLF"
  | "field-name"
  | "colon"
  | "field-value"
  | "chunk-size"
  | "chunk-ext"
  | "data";

export interface Piece {
  readonly production: Production;
  readonly text: string;
}

/** What may stand for a production in a mutated message. */
const WRONG: Readonly<Record<Production, readonly string[]>> = {
  method: [
    ...["get", "GE T", "", "PRI", "FOO", "G(T", "CONNECT", "HEAD", "OPTIONS"],
    ...["PURGE", "\tGET", " GET", "\r\nGET", "\nGET", "\r\n\r\nGET", "TRACE"],
  ],
  SP: ["  ", "\t", "", "\x0b", "\r", "\0", "\n", " \t", "\r\n"],
  "request-target": [
    ...["*", "/a#b", "http://a.shop/x", "http://b.shop/", "http://u@a.shop/"],
    ...["a.shop:80", "//a", "?q", "/\x7f", "/\xe4", "", "/a b", "ftp://a/"],
    ...["http:///x", "/a\0b", "https://a.shop/", "http://a.shop?q", "@a", "a"],
    ...["http://a.shop", "http://a.shop:80/", "HTTP://A.shop/", "/\\|{}^`<>"],
    ...["http://a.shop:x/", "http://[::1]/", "/\xa0", "http:a", "/\t"],
  ],
  "HTTP-version": [
    ...["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/11"],
    ...["HTTP/1.1 ", "", "HTTP/1,1", "HTTP/01.1", "HTTP/1.1x", "ICE/1.0"],
    ...[
      "RTSP/1.0",
      "HTTP/1.10",
      "HTTP/1",
      "HTTP /1.1",
      "HTTP/1.1\t",
      "HTTPS/1.1",
    ],
  ],
  "status-code": [
    ...["99", "100", "101", "103", "199", "204", "205", "304", "599", "600"],
    ...["2000", "20", "", "2x0", "+20", "000", "200 ", "\t200", "999", "204"],
  ],
  "reason-phrase": ["", "OK\0", "O\rK", "\xe4", " OK", "OK\t", "\x7f", "O\nK"],
  CRLF: [
    ...["\n", "\r", "\r\r\n", "", "\n\r", "\r\n\r\n", "\r\n ", "\r\n\t"],
    ...["\x0b\r\n", "\r\n\n", " \r\n", "\0\r\n", "\r\n\r", "\r \n", "\x0c\r\n"],
  ],
  "field-name": [
    ...["Content-Length", "Transfer-Encoding", "Host", "Connection", "Upgrade"],
    ...[
      "Expect",
      "TE",
      "Content_Length",
      "",
      "A B",
      "A\t",
      "\x0bA",
      "A:",
      "(A)",
    ],
    ...["\xe4", "Proxy-Connection", "Keep-Alive", "Trailer", " Host", "Cookie"],
    ...["content-length", "Transfer-Encoding\0", "Set-Cookie", "Date", "A\x7f"],
  ],
  colon: [
    ...[":", " :", "\t:", "", ": ", ":\t", ": \t ", "::", " : ", ":\x0b"],
    ...[":\r\n ", "=", ":\0", ":\r\n", ":\n"],
  ],
  "field-value": [
    ...["chunked", "gzip, chunked", "chunked, chunked", "identity", "Chunked"],
    ...["chunked;x=1", "chunked, ", ",chunked", "\x0bchunked", "chunked\0"],
    ...["chunked, identity", '"chunked"', "close", "keep-alive", "upgrade"],
    ...["close, keep-alive", "te, close", "host", "CLOSE", "a, b", "a b"],
    ...["0", "3", "5", "+3", "-1", "0x3", "3,3", "3 3", "007", "5, 5", "1e1"],
    ...["18446744073709551616", "", "a\0b", "a\rb", "a\nb", "a\x7f", "a\xff"],
    ...["100-continue", "trailers", "a.shop", "a.shop, b", "u@a.shop", "a:0"],
    ...["websocket", "\x01", "\t", "a \t", "a.shop:", "timeout=5", "a\r\n b"],
    ...["close,", ",", "keep-alive, x-a", "x-a", "00000000000000000005", "5\t"],
  ],
  "chunk-size": [
    ...["5 ", "0x5", "+5", "-5", "", "g", "00005", "fffffffffffffffff", "05"],
    ...["5;", "ffffffff", "\t5", "5_0", "0", "5\t", " 5", "A", "a", "5\0"],
    ...["00000000000000000005", "10000000000000005", "fffffffffffffff", "5,"],
  ],
  "chunk-ext": [
    ...["", ";a", ";a=b", ';a="b"', "; a", ";a=", " ;a", ";", ';a="b\n"'],
    ...[";a\n", ";\r", ";a b", ';a="\\""', ";=", "; a = b", ";a;b=c", ";\0"],
    ...[
      ';a="b',
      ";a=b=c",
      ';a=b"c"',
      `;${"e".repeat(300)}`,
      ";a\t",
      ';a="\xe4"',
    ],
  ],
  data: [
    ...["hello", "hell", "hellox", "", "h", "\r\n", "0\r\n\r\n", "hello\r\n"],
    "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.shop\r\n\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: a.shop\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  ],
};

/** Octets that some parser somewhere takes for a delimiter. */
const OCTETS = '\0\t\n\x0b\x0c\r !"#%(),/0:;<=>?@[\\]_a{}\x7f\x80\x85\xa0\xff';

function piece(production: Production, text: string): Piece {
  return { production, text };
}

const CRLF = piece("CRLF", "\r\n");
const SP = piece("SP", " ");

function fieldLine(name: string, value: string, colon = ": "): Piece[] {
  return [
    piece("field-name", name),
    piece("colon", colon),
    piece("field-value", value),
    CRLF,
  ];
}

const FIELDS: readonly (readonly [string, string])[] = [
  ["Accept", "*/*"],
  ["X-A", "b"],
  ["x-a", "again"],
  ["X-Empty", ""],
  ["X-Latin", "\xe4\xf6"],
  ["Cookie", "a=1; b=2"],
  ["Authorization", "Bearer x.y.z"],
  ["TE", "trailers"],
  ["Connection", "keep-alive"],
  ["Connection", "close"],
  ["Connection", "x-a"],
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Content-Type", "text/plain; charset=utf-8"],
  ["Keep-Alive", "timeout=5"],
];

const fields = fc.array(
  fc.tuple(fc.constantFrom(...FIELDS), fc.constantFrom(": ", ":", ":\t", ": ")),
  { maxLength: 4 },
);

/** A body, and how it is framed. "close" is for responses alone. */
const body = fc.record({
  framing: fc.constantFrom("none", "length", "chunked", "close"),
  chunks: fc.array(fc.constantFrom("hello", "x", "0\r\n\r\n", "\xff\0"), {
    maxLength: 3,
  }),
  extension: fc.constantFrom("", "", "", ";a", ";a=b", ';a="b c"'),
  trailers: fc.array(fc.constantFrom("X-T", "X-U"), { maxLength: 2 }),
  expect: fc.nat(9),
});
type Body = typeof body extends fc.Arbitrary<infer T> ? T : never;

function bodyLines({ framing, chunks }: Body): Piece[] {
  if (framing === "length")
    return fieldLine("Content-Length", String(chunks.join("").length));
  if (framing === "chunked")
    return fieldLine(
      "Transfer-Encoding",
      chunks.length === 1 ? "Chunked" : "chunked",
    );
  return [];
}

function content({ framing, chunks, extension, trailers }: Body): Piece[] {
  switch (framing) {
    case "none":
      return [];
    case "chunked":
      return [
        ...[...chunks, ""].flatMap((chunk) => [
          piece("chunk-size", chunk.length.toString(16)),
          piece("chunk-ext", chunk === "" ? "" : extension),
          CRLF,
          ...(chunk === "" ? [] : [piece("data", chunk), CRLF]),
        ]),
        ...trailers.flatMap((name) => fieldLine(name, "t")),
        CRLF,
      ];
    default:
      return [piece("data", chunks.join(""))];
  }
}

const request = fc
  .record({
    method: fc.constantFrom("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"),
    target: fc.constantFrom("/", "/a/b?c=d", "http://a.shop/x", "/%2f/.."),
    minor: fc.constantFrom("1.1", "1.1", "1.1", "1.0"),
    fields,
    body,
    upgrade: fc.nat(19),
  })
  .map(({ method, target, minor, fields, body, upgrade }): Piece[] => {
    const framed: Body =
      body.framing === "close" ||
      (minor === "1.0" && body.framing === "chunked")
        ? { ...body, framing: "none" }
        : body;
    return [
      piece("method", method),
      SP,
      piece("request-target", target),
      SP,
      piece("HTTP-version", `HTTP/${minor}`),
      CRLF,
      ...fieldLine("Host", "a.shop"),
      ...fields.flatMap(([[name, value], colon]) =>
        fieldLine(name, value, colon),
      ),
      ...(body.expect === 0 ? fieldLine("Expect", "100-continue") : []),
      ...(upgrade === 0
        ? [
            ...fieldLine("Connection", "Upgrade"),
            ...fieldLine("Upgrade", "websocket"),
          ]
        : []),
      ...bodyLines(framed),
      CRLF,
      ...content(framed),
    ];
  });

const response = fc
  .record({
    interim: fc.nat(9),
    status: fc.constantFrom("200", "200", "404", "500", "204", "304", "206"),
    phrase: fc.constantFrom("OK", "", "Not Found", "\xe4"),
    minor: fc.constantFrom("1.1", "1.1", "1.1", "1.0"),
    fields,
    body,
  })
  .map(({ interim, status, phrase, minor, fields, body }): Piece[] => {
    const framed: Body =
      status === "204" ||
      status === "304" ||
      (minor === "1.0" && body.framing === "chunked")
        ? { ...body, framing: "none" }
        : body.framing === "none"
          ? { ...body, framing: "length", chunks: [] }
          : body;
    const statusLine = (code: string, reason: string): Piece[] => [
      piece("HTTP-version", `HTTP/${minor}`),
      SP,
      piece("status-code", code),
      SP,
      piece("reason-phrase", reason),
      CRLF,
    ];
    return [
      // HTTP/1.0 knows none.
      ...(interim < 2 && minor === "1.1"
        ? [
            ...statusLine(interim === 0 ? "100" : "103", "Early"),
            ...fieldLine("Link", "</a>; rel=preload"),
            CRLF,
          ]
        : []),
      ...statusLine(status, phrase),
      ...fields.flatMap(([[name, value], colon]) =>
        fieldLine(name, value, colon),
      ),
      ...bodyLines(framed),
      CRLF,
      ...content(framed),
    ];
  });

interface Mutation {
  readonly at: number;
  readonly how: number;
  readonly which: number;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.nat(1_000_000),
  how: fc.nat(9),
  which: fc.nat(1_000_000),
});

/** The pieces with one thing changed. */
function mutated(pieces: readonly Piece[], mutation: Mutation): Piece[] {
  const { at, how, which } = mutation;
  const index = at % pieces.length;
  const before = pieces.slice(0, index);
  const after = pieces.slice(index + 1);
  const chosen = pieces[index];
  if (chosen === undefined) return [...pieces];
  const { production, text } = chosen;
  const wrong = WRONG[production];
  const place = which % (text.length + 1);
  const octet = OCTETS.charAt(which % OCTETS.length);
  const put = (made: string): Piece[] => [
    ...before,
    piece(production, made),
    ...after,
  ];
  switch (how) {
    case 0:
      return put(text.slice(0, place) + octet + text.slice(place));
    case 1:
      return put(text.slice(0, place) + octet + text.slice(place + 1));
    case 2:
      return put(text.slice(0, place) + text.slice(place + 1));
    case 3:
      return [...before, chosen, ...pieces.slice(index)];
    case 4: {
      // A line once more, or a line of another message's kind.
      const line = fieldLine(
        WRONG["field-name"][which % WRONG["field-name"].length] ?? "",
        WRONG["field-value"][at % WRONG["field-value"].length] ?? "",
      );
      const start = pieces.findIndex(
        (each, where) => where >= index && each.production === "field-name",
      );
      return start === -1
        ? [...pieces]
        : [...pieces.slice(0, start), ...line, ...pieces.slice(start)];
    }
    case 5:
      return text === text.toLowerCase()
        ? put(text.toUpperCase())
        : put(text.toLowerCase());
    default:
      return put(wrong[which % wrong.length] ?? "");
  }
}

export interface Case {
  readonly octets: string;
  /** Offsets at which it is cut into reads. */
  readonly cuts: readonly number[];
}

function caseOf(
  message: fc.Arbitrary<Piece[]>,
  maxMessages: number,
): fc.Arbitrary<Case> {
  // Many come again as they were: what a connection remembers of a head is then used.
  const messages = fc.array(fc.option(message, { freq: 2 }), {
    minLength: 1,
    maxLength: maxMessages,
  });
  return fc
    .record({
      first: message,
      messages,
      mutations: fc.array(mutation, { maxLength: 3 }),
      cuts: fc.array(fc.nat(1_000_000), { maxLength: 4 }),
    })
    .map(({ first, messages, mutations, cuts }) => {
      let last = first;
      const all = messages.flatMap((one) => (last = one ?? last));
      const octets = mutations
        .reduce(mutated, all)
        .map(({ text }) => text)
        .join("");
      return {
        octets,
        cuts: cuts
          .map((cut) => cut % (octets.length + 1))
          .sort((a, b) => a - b),
      };
    });
}

export const requestCase: fc.Arbitrary<Case> = caseOf(request, 4);
export const responseCase: fc.Arbitrary<Case> = caseOf(response, 1);
