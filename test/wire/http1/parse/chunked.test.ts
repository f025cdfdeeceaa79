/** The chunked coding by RFC 9112 7.1: what is decoded, what is refused, and that cuts change neither. */
import t from "tap";
import { BodyReader } from "../../../../src/wire/http1/parse/body-reader.ts";
import { ChunkedDecoder } from "../../../../src/wire/http1/parse/chunked.ts";
import { DEFAULT_LIMITS } from "../../../../src/wire/http1/limits.ts";
import { Http1Fault } from "../../../../src/wire/http1/fault.ts";
import { CHUNK_FAULTS } from "../../../support/http1/faults-fields.ts";

interface Decoded {
  readonly body: string;
  readonly pieces: number;
  /** Octets behind the body. */
  readonly rest: string;
  readonly done: boolean;
  readonly trailers: readonly string[] | undefined;
}

/** Decodes `text` in reads of `step` octets. */
function decode(text: string, step = text.length): Decoded {
  const decoder = new ChunkedDecoder(DEFAULT_LIMITS);
  let body = "";
  let pieces = 0;
  let at = 0;
  while (at < text.length && !decoder.done) {
    const bytes = Buffer.from(text.slice(at, at + step), "latin1");
    at += decoder.decode(bytes, 0, bytes.length, {
      data(chunk) {
        body += chunk.toString("latin1");
        pieces += 1;
      },
    });
  }
  return {
    body,
    pieces,
    rest: text.slice(at),
    done: decoder.done,
    trailers: decoder.trailers?.map(({ name, value }) => `${name}: ${value}`),
  };
}

const TAKEN: readonly (readonly [text: string, body: string])[] = [
  ["0\r\n\r\n", ""],
  ["3\r\nabc\r\n0\r\n\r\n", "abc"],
  ["0003\r\nabc\r\n000\r\n\r\n", "abc"],
  ["a\r\n0123456789\r\n0\r\n\r\n", "0123456789"],
  ["A\r\n0123456789\r\n0\r\n\r\n", "0123456789"],
  ["2\r\n\r\n\r\n0\r\n\r\n", "\r\n"],
  ["1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef"],
  ["3;a\r\nabc\r\n0;b\r\n\r\n", "abc"],
  ["3;a=b;c=d\r\nabc\r\n0\r\n\r\n", "abc"],
  ['3;a="b;\\"c\\r\t \xe4"\r\nabc\r\n0\r\n\r\n', "abc"],
  ['3;a="";b\r\nabc\r\n0\r\n\r\n', "abc"],
];

void t.test("decoded, whatever the cuts", (t) => {
  for (const [text, body] of TAKEN)
    for (let step = 1; step <= text.length; step += 1) {
      const decoded = decode(`${text}GET`, step);
      if (
        decoded.body !== body ||
        !decoded.done ||
        !"GET".endsWith(decoded.rest.slice(0, 3))
      )
        t.fail(JSON.stringify({ text, step, decoded }));
    }
  t.equal(decode("0\r\n\r\nGET").rest, "GET", "what follows is left alone");
  t.end();
});

void t.test("the chunks of one read arrive in one piece", (t) => {
  const decoded = decode(`${"1\r\nx\r\n".repeat(1000)}0\r\n\r\n`);
  t.equal(decoded.body, "x".repeat(1000));
  t.equal(decoded.pieces, 1);
  t.end();
});

void t.test("trailers", (t) => {
  const text = "0\r\nX-A: 1\r\nx-b:2 \r\n\r\n";
  for (let step = 1; step <= text.length; step += 1)
    t.strictSame(decode(text, step).trailers, ["x-a: 1", "x-b: 2"]);
  t.equal(decode("0\r\n\r\n").trailers, undefined);
  t.end();
});

void t.test("nothing of one message is left for the next", (t) => {
  const reader = new BodyReader(DEFAULT_LIMITS);
  for (const text of ["0\r\nA: b\r\n\r\n", "1\r\nx\r\n0\r\n\r\n"]) {
    reader.begin("chunked", undefined);
    const bytes = Buffer.from(text);
    reader.read(bytes, 0, bytes.length, undefined);
    t.equal(reader.done, true);
  }
  t.equal(reader.trailers, undefined);
  t.end();
});

for (const [what, text] of Object.entries(CHUNK_FAULTS))
  void t.test(`refused: ${what}`, (t) => {
    for (const step of [1, 2, 3, 7, text.length])
      t.throws(() => decode(text, step), Http1Fault, `in reads of ${step}`);
    t.end();
  });

void t.test("a body that has not ended is not done", (t) => {
  for (const text of [
    "",
    "3",
    "3\r\n",
    "3\r\nabc",
    "3\r\nabc\r\n",
    "0\r\n",
    "0\r\nA: b\r\n",
    "0\r\n\r",
  ])
    t.equal(decode(text, 1).done, false, JSON.stringify(text));
  t.end();
});
