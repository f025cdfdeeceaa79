import t from "tap";
import type { Field } from "../../../../src/wire/fields.ts";
import { HeadMemory } from "../../../../src/wire/http1/parse/head-memory.ts";
import { Http1Fault } from "../../../../src/wire/http1/fault.ts";

/** The fields of a head with these lines. */
function readAll(memory: HeadMemory, ...lines: string[]): Field[] {
  const text = lines.map((line) => `${line}\r\n`).join("");
  const fields: Field[] = [];
  memory.begin();
  for (let at = 0; at < text.length; at = memory.end)
    fields.push(memory.read(text, at));
  return fields;
}

function pairs(fields: readonly Field[]): string[][] {
  return fields.map(({ name, value }) => [name, value]);
}

void t.test(
  "a line that stands where it stood in the last head is the same field",
  (t) => {
    const memory = new HeadMemory();
    const [accept, agent] = readAll(memory, "Accept: a/b", "User-Agent: x");
    t.same(readAll(memory, "Accept: a/b", "User-Agent: x"), [accept, agent]);
    t.equal(readAll(memory, "Accept: a/b", "User-Agent: x")[1], agent);
    t.end();
  },
);

void t.test("whatever came before, a line is read as it stands", (t) => {
  const heads: string[][] = [
    ["X-Id: 1", "Accept: a/b"],
    ["X-Id: 2", "Accept: a/b"],
    ["X-Id:   3  ", "Accept: a/b"],
    ["X-Id:", "Accept: a/bc"],
    ["x-id: 4", "Accept:a/b"],
    ["X-Idem: 5", "Accept: a/b", "Date: Tue, 15 Nov 1994 08:12:31 GMT"],
    ["Accept: a/b", "X-Id: 6", "Date: Tue, 15 Nov 1994 08:12:32 GMT"],
    ["X-Id: 6:7", "Date: Tue, 15 Nov 1994 08:12:32 GMT"],
    ["Authorization: Bearer one", "Cookie: a=b"],
    ["Authorization: Bearer two", "Cookie: a=c"],
  ];
  const read = (line: string): string[] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  };
  const memory = new HeadMemory();
  // Long enough that it forgets and learns again on the way.
  for (let round = 0; round < 60; round += 1)
    for (const head of heads)
      t.same(pairs(readAll(memory, ...head)), head.map(read));
  t.end();
});

void t.test("a value that varies has its class, and its grammar", (t) => {
  const memory = new HeadMemory();
  readAll(memory, "X-Id: 1", "Authorization: one");
  readAll(memory, "X-Id: 2", "Authorization: two");
  const [, secret] = readAll(memory, "X-Id: 3", "Authorization: three");
  t.equal(secret?.indexing, "never");
  for (const flawed of ["X-Id: a\u0000b", "X-Id: a\u007fb", "X-Id: a\nb"])
    t.throws(() => readAll(memory, flawed), Http1Fault);
  for (const flawed of ["X-Id: a\rb", "X-Id : a", "X-Id", " X-Id: a"])
    t.throws(() => readAll(memory, flawed), Http1Fault);
  t.end();
});

void t.test("a credential is read anew from each head", (t) => {
  const memory = new HeadMemory();
  const lines = ["Authorization: Bearer sesame", "Cookie: k=sesame"];
  let before = readAll(memory, ...lines);
  for (let round = 0; round < 5; round += 1) {
    const fields = readAll(memory, ...lines);
    for (const [place, field] of fields.entries())
      t.not(field, before[place], "what is kept would be the same");
    before = fields;
  }
  t.end();
});
