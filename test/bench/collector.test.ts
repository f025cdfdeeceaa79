// The benchmark's collector counts the spans of an export without reading them.
import { request } from "node:http";
import t from "tap";
import { countSpans, startCollector } from "../../bench/collector.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

/** A field of protobuf with a length in front of it. */
function field(number: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length: number[] = [];
  let rest = content.length;
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([
    Buffer.from([(number << 3) | 2, ...length, rest]),
    content,
  ]);
}

const span = field(2, Buffer.alloc(300, 0x0a));

function exported(spans: number): Buffer {
  const scope = field(1, Buffer.from("of the library"));
  const resource = field(1, Buffer.from("of the process"));
  const all = Array.from({ length: spans }, () => span);
  return field(1, resource, field(2, scope, ...all));
}

for (const { what, message, spans } of [
  { what: "one resource", message: exported(3), spans: 3 },
  {
    what: "two resources",
    message: Buffer.concat([exported(3), exported(200)]),
    spans: 203,
  },
  { what: "no spans", message: exported(0), spans: 0 },
  { what: "nothing", message: Buffer.alloc(0), spans: 0 },
  { what: "no protobuf", message: Buffer.from("GET / HTTP/1.1"), spans: 0 },
  { what: "numbers without end", message: Buffer.alloc(64, 0xff), spans: 0 },
])
  void t.test(`${what}: ${spans} spans`, (t) => {
    t.equal(countSpans(message), spans);
    t.end();
  });

for (const { how, headers } of [
  {
    how: "with a length",
    headers: { "content-length": String(exported(400).length) },
  },
  { how: "in chunks", headers: {} },
])
  void t.test(`an export ${how} is counted and answered`, async (t) => {
    const collector = await startCollector(fakeClock(), 0);
    t.teardown(() => collector.close());
    const body = exported(400);
    const status = await new Promise((resolve, reject) => {
      const post = request({
        port: collector.port,
        method: "POST",
        path: "/v1/traces",
        headers,
      });
      post.on("response", (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      });
      post.on("error", reject);
      post.write(body.subarray(0, 1000));
      post.end(body.subarray(1000));
    });
    t.equal(status, 200);
    t.equal(collector.spans, 400);
  });
