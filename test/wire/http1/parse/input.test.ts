/** A head that comes in pieces is found where it ends, and what cannot become one is told, wherever the pieces were cut. */
import t from "tap";
import { withoutBlanks } from "../../../../src/wire/grammar.ts";
import { Input } from "../../../../src/wire/http1/parse/input.ts";

function inPieces(text: string, size: number): Input {
  const input = new Input();
  for (let at = 0; at < text.length; at += size) {
    input.push(Buffer.from(text.slice(at, at + size), "latin1"));
    if (at + size < text.length) {
      input.headEnd();
      input.hasBareLf();
      input.hasCrlfWithin(4);
    }
  }
  return input;
}

const HEAD = "GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n";

for (const size of [1, 2, 3, 5, 7, 1000])
  void t.test(`in pieces of ${size}`, (t) => {
    t.equal(inPieces(HEAD, size).headEnd(), HEAD.length - 4);
    t.equal(inPieces(HEAD.slice(0, -1), size).headEnd(), -1);
    t.equal(inPieces(`${HEAD}next`, size).headEnd(), HEAD.length - 4);
    t.equal(inPieces(HEAD, size).hasBareLf(), false);
    t.equal(inPieces("GET / HTTP/1.1\r\nhost: a\nb", size).hasBareLf(), true);
    t.equal(inPieces("\nGET", size).hasBareLf(), true);
    t.equal(inPieces("GET /\r\r\n\n", size).hasBareLf(), true);
    t.equal(inPieces(HEAD, size).hasCrlfWithin(14), true);
    t.equal(inPieces(HEAD, size).hasCrlfWithin(13), false);
    t.equal(inPieces("GET / HTTP/1.1\r", size).hasCrlfWithin(100), false);
    t.end();
  });

void t.test("what an earlier message left behind the end is not found", (t) => {
  const input = new Input();
  // The second piece makes a buffer with room, whose rest is filled by what comes next and is then consumed.
  input.push(Buffer.from("GET / HT", "latin1"));
  input.push(Buffer.from("TP/1.1\r\n\r\n", "latin1"));
  input.bytes.fill("\r\n\r\n\n", input.end);
  input.consume(input.start + 2);
  t.equal(input.headEnd(), input.end - 4);
  input.end -= 1;
  t.equal(input.headEnd(), -1);
  t.equal(input.hasBareLf(), false);
  t.end();
});

void t.test("a second head begins its own first line", (t) => {
  const input = new Input();
  input.push(Buffer.from(`${HEAD}POST /longer HTTP/1.1\r\n`, "latin1"));
  t.equal(input.hasCrlfWithin(14), true);
  input.consume(input.headEnd() + 4);
  t.equal(input.hasCrlfWithin(14), false);
  t.equal(input.hasCrlfWithin(21), true);
  t.end();
});

void t.test("blanks at both ends go, all others stay", (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["", ""],
    [" \t ", ""],
    ["a", "a"],
    [" \ta b\t ", "a b"],
    ["\u00a0a\n ", "\u00a0a\n"],
  ];
  for (const [given, wanted] of rows) t.equal(withoutBlanks(given), wanted);
  t.end();
});
