/** The cache of field lines: it saves work, is bounded, and holds no secret. */
import t from "tap";
import { Http1Fault } from "../../../../src/wire/http1/fault.ts";
import { fieldOfLine } from "../../../../src/wire/http1/parse/field-lines.ts";

void t.test("a line that comes again gives the same object", (t) => {
  const first = fieldOfLine("Accept: text/html");
  t.match(first, { name: "accept", value: "text/html" });
  t.equal(fieldOfLine("Accept: text/html"), first);
  t.not(fieldOfLine("accept: text/html"), first, "its octets are the key");
  t.end();
});

void t.test(
  "secrets, what never repeats, and what is long are not kept",
  (t) => {
    for (const line of [
      "Authorization: Bearer abc",
      "Cookie: a=b",
      "Set-Cookie: a=b",
      "X-Api-Key: abc",
      "Proxy-Authorization: Basic abc",
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "X-Request-Id: 1",
      "Date: Tue, 15 Nov 1994 08:12:31 GMT",
      "Content-Length: 5",
      `X-Long: ${"a".repeat(130)}`,
      `X-Longer: ${"a".repeat(1000)}`,
    ]) {
      const field = fieldOfLine(line);
      t.not(fieldOfLine(line), field, line.slice(0, 20));
    }
    t.end();
  },
);

void t.test(
  "the cache is bounded, and what is used stays in it through a flood of what is not",
  (t) => {
    const used = "User-Agent: wherry-test";
    const field = fieldOfLine(used);
    const unique: unknown[] = [];
    for (let count = 0; count < 20_000; count += 1) {
      unique.push(fieldOfLine(`X-Unique: ${count}`));
      if (count % 100 === 0) t.equal(fieldOfLine(used), field);
    }
    // The newest first: to look for a line that is not kept puts it in place of an old one.
    let kept = 0;
    for (let count = unique.length - 1; count >= 0; count -= 1)
      if (fieldOfLine(`X-Unique: ${count}`) === unique[count]) kept += 1;
    t.ok(kept > 0 && kept <= 1024, `${kept} are kept`);
    t.end();
  },
);

void t.test("a faulty line is faulty each time", (t) => {
  for (let count = 0; count < 2; count += 1)
    t.throws(() => fieldOfLine("A : b"), Http1Fault);
  t.end();
});
