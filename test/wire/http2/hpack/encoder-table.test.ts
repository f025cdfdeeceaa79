/** The encoder's table finds what it has, and a caller that sends one value under many names buys no walk through all of them. */
import t from "tap";
import { EncoderTable } from "../../../../src/wire/http2/hpack/encoder-table.ts";

const FIRST = 62;

void t.test("names that share a value are each found by their own", (t) => {
  const table = new EncoderTable(4096);
  for (const name of ["a", "b", "c"]) table.add(table.use(name), "same");
  t.equal(table.find(table.use("c"), "same"), FIRST);
  t.equal(table.find(table.use("b"), "same"), FIRST + 1);
  t.equal(table.find(table.use("a"), "same"), FIRST + 2);
  t.equal(table.find(table.use("d"), "same"), 0);
  t.end();
});

void t.test("what is evicted is not found, and its neighbours are", (t) => {
  // Room for three entries of one letter and four.
  const table = new EncoderTable(3 * 37);
  for (const name of ["a", "b", "c", "d"]) table.add(table.use(name), "same");
  t.equal(table.find(table.use("a"), "same"), 0);
  t.equal(table.find(table.use("b"), "same"), FIRST + 2);
  table.add(table.use("e"), "else");
  table.add(table.use("f"), "else");
  t.equal(table.find(table.use("c"), "same"), 0);
  t.equal(table.find(table.use("d"), "same"), FIRST + 2);
  table.resize(0);
  t.equal(table.find(table.use("d"), "same"), 0);
  table.resize(4096);
  table.add(table.use("d"), "same");
  t.equal(table.find(table.use("d"), "same"), FIRST);
  t.end();
});

void t.test("of many that share a value the newest are looked at", (t) => {
  const table = new EncoderTable(65_536);
  for (let index = 0; index < 100; index += 1)
    table.add(table.use(`n${index}`), "same");
  t.equal(table.find(table.use("n99"), "same"), FIRST);
  t.equal(table.find(table.use("n95"), "same"), FIRST + 4);
  t.equal(table.find(table.use("n0"), "same"), 0);
  t.end();
});
