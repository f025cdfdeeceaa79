/** What is written of spans is what OpenTelemetry's own serializer writes of them, but for zeros, which need not be said. */
import assert from "node:assert/strict";
import { SpanKind, SpanStatusCode, createTraceState } from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resources } from "@opentelemetry/sdk-node";
import fc from "fast-check";
import protobuf from "protobufjs";
import t from "tap";
import { makeSpanBatch } from "../../src/telemetry/otlp.ts";
import type {
  AttributeValue,
  SpanRecord,
} from "../../src/telemetry/tracing.ts";

/** opentelemetry-proto 1.x, as far as a span of ours goes. */
const REQUEST = protobuf
  .parse(
    `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; }
message Scope { string name = 1; string version = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start = 7; fixed64 end = 8; repeated KeyValue attributes = 9; uint32 dropped = 10; Status status = 15; fixed32 flags = 16;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string text = 1; bool truth = 2; int64 integer = 3; double number = 4; } }
`,
  )
  .root.lookupType("Request");

function read(message: Uint8Array): object {
  const request = REQUEST.toObject(REQUEST.decode(message), {
    longs: String,
    bytes: String,
    arrays: true,
  }) as {
    resourceSpans: { scopeSpans: { spans: Record<string, unknown>[] }[] }[];
  };
  for (const { scopeSpans } of request.resourceSpans)
    for (const { spans } of scopeSpans)
      for (const span of spans) {
        delete span["dropped"];
        // The SDK says of each span that it is not said to have failed.
        const status = span["status"] as { code?: number } | undefined;
        if ((status?.code ?? 0) === 0) delete span["status"];
      }
  return request;
}

const RESOURCE = { "service.name": "web", "service.instance.id": "web-ü" };

const SCOPE = { name: "wherry" };

/** The same by OpenTelemetry. */
function bySdk(records: readonly SpanRecord[]): Uint8Array {
  const resource = resources.resourceFromAttributes(RESOURCE);
  const hrTime = (ms: number): [number, number] => {
    const seconds = Math.floor(ms / 1000);
    const nanoseconds = Math.round((ms - Math.floor(ms)) * 1e6);
    return [seconds, (Math.floor(ms) % 1000) * 1e6 + nanoseconds];
  };
  const spans = records.map((record) => {
    const context = {
      traceId: record.traceId,
      spanId: record.spanId,
      traceFlags: record.random ? 3 : 1,
      ...(record.traceState === undefined
        ? {}
        : { traceState: createTraceState(record.traceState) }),
    };
    return {
      name: record.name,
      kind: record.kind === "server" ? SpanKind.SERVER : SpanKind.CLIENT,
      spanContext: () => context,
      ...(record.parentSpanId === undefined
        ? {}
        : {
            parentSpanContext: {
              ...context,
              spanId: record.parentSpanId,
              isRemote: record.kind === "server",
            },
          }),
      startTime: hrTime(record.start),
      endTime: hrTime(record.end),
      duration: hrTime(0),
      status:
        record.error === undefined
          ? { code: SpanStatusCode.UNSET }
          : { code: SpanStatusCode.ERROR, message: record.error },
      attributes: record.attributes,
      links: [],
      events: [],
      ended: true,
      resource,
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  });
  const message = ProtobufTraceSerializer.serializeRequest(spans);
  if (message === undefined) throw new Error("nothing is written");
  return message;
}

function byUs(records: readonly SpanRecord[]): Uint8Array {
  const batch = makeSpanBatch(RESOURCE);
  for (const record of records) batch.add(record);
  return batch.message();
}

const TEXT = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  // Lengths of one, two and three octets, of what is ASCII and of what is not.
  fc
    .constantFrom(1, 125, 126, 127, 128, 129, 16_383, 16_384, 40_000)
    .chain((length) =>
      fc.constantFrom("a", "ü", "€").map((letter) => letter.repeat(length)),
    ),
);
const VALUE: fc.Arbitrary<AttributeValue> = fc.oneof(
  TEXT,
  fc.boolean(),
  fc.nat(),
  fc.maxSafeNat(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }),
  fc.constantFrom(-0, 2 ** 53, -(2 ** 62), 2 ** 63, 1e300, Infinity),
);
const ID = (length: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((octets) => Buffer.from(octets).toString("hex"));
const MOMENT = fc
  .tuple(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 999 }))
  .map(([ms, part]) => ms + part / 1000);

const SPAN: fc.Arbitrary<SpanRecord> = fc.record({
  name: TEXT,
  kind: fc.constantFrom("server", "client"),
  traceId: ID(16),
  spanId: ID(8),
  parentSpanId: fc.option(ID(8), { nil: undefined }),
  traceState: fc.option(fc.constantFrom("a=1", "a=1,b=2", "no list"), {
    nil: undefined,
  }),
  random: fc.boolean(),
  debug: fc.boolean(),
  start: MOMENT,
  end: MOMENT,
  attributes: fc.dictionary(fc.string({ minLength: 1 }), VALUE, {
    maxKeys: 20,
  }),
  error: fc.option(
    TEXT.filter((text) => text !== ""),
    { nil: undefined },
  ),
});

void t.test("as OpenTelemetry's serializer writes them", (t) => {
  fc.assert(
    fc.property(fc.array(SPAN, { minLength: 1, maxLength: 8 }), (records) => {
      assert.deepEqual(read(byUs(records)), read(bySdk(records)));
    }),
    { numRuns: 300 },
  );
  t.end();
});

void t.test("a batch is used again, and what it held is gone", (t) => {
  const [first, second] = fc.sample(SPAN, { numRuns: 2, seed: 3 });
  if (first === undefined || second === undefined) throw new Error("no spans");
  const batch = makeSpanBatch(RESOURCE);
  batch.add(first);
  t.equal(batch.spans, 1);
  t.ok(batch.octets > 0);
  batch.clear();
  t.strictSame([batch.spans, batch.octets], [0, 0]);
  batch.add(second);
  t.strictSame(read(batch.message()), read(byUs([second])));
  t.strictSame(read(batch.message()), read(byUs([second])), "and asked again");
  t.end();
});
