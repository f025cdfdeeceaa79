// What the benchmark says of the cores' time that another machine had.
import t from "tap";
import { countStolen } from "../../bench/stolen.ts";

const stat = (line: string): string =>
  `${line}\ncpu0 1 1 1 1 1 1 1 99 0 0\nintr 7 0\n`;

for (const { what, before, after, stolen } of [
  {
    what: "a part of all ticks",
    before: "cpu  100 0 50 850 0 0 0 10 0 0",
    after: "cpu  160 0 70 950 5 5 10 10 0 0",
    stolen: 0,
  },
  {
    what: "the ticks between the two looks alone",
    before: "cpu  100 0 50 850 0 0 0 300 0 0",
    after: "cpu  130 0 60 950 0 0 10 350 0 0",
    stolen: 25,
  },
  {
    what: "guests, which are in user and nice already",
    before: "cpu  100 0 50 850 0 0 0 0 10 10",
    after: "cpu  190 0 50 850 0 0 0 10 90 90",
    stolen: 10,
  },
  {
    what: "a kernel that does not tell",
    before: "cpu  100 0 50 850",
    after: "cpu  160 0 70 950",
    stolen: 0,
  },
  { what: "no line of the cores", before: "", after: "", stolen: 0 },
])
  void t.test(`stolen time: ${what}`, (t) => {
    const texts = [stat(before), stat(after)];
    const count = countStolen(() => texts.shift() ?? "");
    t.equal(count(), stolen);
    t.end();
  });
