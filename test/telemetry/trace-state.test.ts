// The list of `tracestate` by the grammar and the limits of Trace Context Level 2, sections 3.3.1 to 3.3.1.5.
import t from "tap";
import { readTraceState } from "../../src/telemetry/trace-state.ts";

/** A list of as many members. */
const members = (count: number, member = (at: number) => `k${at}=${at}`) =>
  Array.from({ length: count }, (_, at) => member(at)).join(",");

void t.test("what is a list goes on as it came", (t) => {
  for (const value of [
    "a=1",
    "a=1,b=2",
    "0a=1",
    "a=1 \t, \tb=2",
    "a=1,,b=2,",
    "tenant@vendor=1",
    "a@=1,b@@c=2,d@e@f=3",
    "abcdefghijklmnopqrstuvwxyz0123456789_-*/= !\"#$%&'()*+-./:;<>?@[]^_`{|}~",
    "a=1,a=2",
    `${"z".repeat(256)}=1`,
    `a=${"v".repeat(256)}`,
    members(32),
    `${members(32)},,`,
  ])
    t.equal(readTraceState(value), value, value);
  t.end();
});

void t.test("what is not is dropped as a whole", (t) => {
  for (const value of [
    "",
    " \t",
    ",,",
    "a",
    "a=",
    "a= ",
    "=1",
    "A=1",
    "_a=1",
    "@a=1,b=2",
    "a.b=1",
    "a =1",
    "a=b=c",
    "a=,b=3",
    "a=1;b=2\u007f",
    "a=\u00fc",
    "b=2,a=1\u0001",
    `${"z".repeat(257)}=1`,
    `a=${"v".repeat(257)}`,
    members(33),
  ])
    t.equal(readTraceState(value), undefined, value);
  t.end();
});

void t.test(
  "of more than 512 characters long entries are left out first, then the last ones",
  (t) => {
    const short = members(30, (at) => `k${at}=${"v".repeat(10)}`);
    const long = `l=${"v".repeat(127)}`;
    t.equal(readTraceState(`${long},${short}`), short, "the long one goes");
    const many = members(32, (at) => `k${at}=${"v".repeat(20)}`);
    const left = readTraceState(many) ?? "";
    t.ok(many.startsWith(`${left},`), "the first ones stay, in their order");
    t.ok(left.length <= 512);
    t.ok(left.length + 25 > 512, "no more than needed");
    const both = `a=1,${long.replace("l", "b")},c=1,${"z".repeat(250)}=1,${"y".repeat(250)}=1`;
    t.equal(
      readTraceState(both),
      `a=1,${long.replace("l", "b")},c=1,${"z".repeat(250)}=1`,
      "of long ones the last goes first",
    );
    const exact = `a=${"v".repeat(126)},${members(1)},b=${"v".repeat(256)},c=${"v".repeat(117)}`;
    t.equal(exact.length, 512);
    t.equal(readTraceState(exact), exact);
    t.end();
  },
);
