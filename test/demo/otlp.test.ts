/** Reading OTLP: what opentelemetry-proto 1.x says on the wire, encoded here by its published message definitions. */
import protobuf from "protobufjs";
import t from "tap";
import { readExport } from "../../src/demo/otlp.ts";

/** opentelemetry/proto/trace/v1/trace.proto and what it refers to, with fields that the reader skips as well. */
const PROTO = `syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; string schema_url = 3; }
message Scope { string name = 1; string version = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; fixed32 flags = 16;
  string name = 5; int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9; uint32 dropped_attributes_count = 10; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; bytes bytes_value = 7; } }
`;
const request = protobuf
  .parse(PROTO, { keepCase: false })
  .root.lookupType("ExportTraceServiceRequest");

function encode(message: object): Buffer {
  return Buffer.from(request.encode(request.fromObject(message)).finish());
}

const text = (key: string, stringValue: string): object => ({
  key,
  value: { stringValue },
});

void t.test("a span with all that is read of it", (t) => {
  const spans = readExport(
    encode({
      resourceSpans: [
        {
          schemaUrl: "https://opentelemetry.io/schemas/1.37.0",
          resource: {
            attributes: [
              text("service.name", "orders"),
              text("service.instance.id", "orders-1"),
            ],
          },
          scopeSpans: [
            {
              scope: { name: "wherry" },
              spans: [
                {
                  traceId: Buffer.alloc(16, 0xab),
                  spanId: Buffer.alloc(8, 0xcd),
                  parentSpanId: Buffer.alloc(8, 0xef),
                  traceState: "a=b",
                  flags: 0x101,
                  name: "GET orders.shop:80",
                  kind: 2,
                  // Past what a double holds exactly.
                  startTimeUnixNano: "1767225600123456789",
                  endTimeUnixNano: "1767225600124456789",
                  attributes: [
                    text("url.path", "/orders"),
                    { key: "on", value: { boolValue: false } },
                    { key: "status", value: { intValue: "503" } },
                    { key: "share", value: { doubleValue: 0.5 } },
                    { key: "raw", value: { bytesValue: Buffer.from("x") } },
                    { key: "none" },
                  ],
                  status: { code: 2, message: "NO_ENDPOINT" },
                },
              ],
            },
          ],
        },
      ],
    }),
  );
  t.strictSame(spans, [
    {
      traceId: "ab".repeat(16),
      spanId: "cd".repeat(8),
      parentSpanId: "ef".repeat(8),
      service: "orders",
      instance: "orders-1",
      name: "GET orders.shop:80",
      kind: "server",
      start: 1767225600123.456,
      end: 1767225600124.456,
      attributes: {
        "url.path": "/orders",
        on: false,
        status: 503,
        share: 0.5,
        raw: "",
        none: "",
      },
      error: "NO_ENDPOINT",
    },
  ]);
  t.end();
});

void t.test("kinds and statuses", (t) => {
  const one = (
    span: object,
  ): ReturnType<typeof readExport>[number] | undefined =>
    readExport(
      encode({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }),
    )[0];
  const kinds = [0, 1, 2, 3, 4, 5].map((kind) => one({ kind })?.kind);
  t.strictSame(kinds, [
    "internal",
    "internal",
    "server",
    "client",
    "internal",
    "internal",
  ]);
  t.equal(one({ status: { code: 0 } })?.error, undefined, "unset");
  t.equal(one({ status: { code: 1, message: "x" } })?.error, undefined, "ok");
  t.equal(one({ status: { code: 2 } })?.error, "", "an error without a text");
  t.match(one({}), { service: "unknown", instance: "", parentSpanId: "" });
  t.end();
});

void t.test("several resources and scopes; an empty export", (t) => {
  const spans = readExport(
    encode({
      resourceSpans: ["a", "b"].map((name) => ({
        resource: { attributes: [text("service.name", name)] },
        scopeSpans: [{ spans: [{}] }, { spans: [{}, {}] }],
      })),
    }),
  );
  t.strictSame(
    spans.map(({ service }) => service),
    ["a", "a", "a", "b", "b", "b"],
  );
  t.strictSame(readExport(Buffer.alloc(0)), []);
  t.end();
});

void t.test("what is no export is refused, and changes no prototype", (t) => {
  for (const bytes of [
    Buffer.from("not protobuf at all"),
    encode({
      resourceSpans: [{ scopeSpans: [{ spans: [{ name: "x" }] }] }],
    }).subarray(0, -1),
    Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  ])
    t.throws(() => readExport(bytes));
  const [span] = readExport(
    encode({
      resourceSpans: [
        { scopeSpans: [{ spans: [{ attributes: [text("__proto__", "x")] }] }] },
      ],
    }),
  );
  t.equal(Object.getPrototypeOf(span?.attributes), Object.prototype);
  t.end();
});
