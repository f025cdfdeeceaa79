/** Reads OTLP trace exports in protobuf (opentelemetry-proto 1.x), as far as a tree in a terminal needs them. */
import protobuf from "protobufjs";

export interface ReceivedSpan {
  /** Hexadecimal. */
  readonly traceId: string;
  readonly spanId: string;
  /** "" for the root. */
  readonly parentSpanId: string;
  readonly service: string;
  /** `service.instance.id` of the resource. */
  readonly instance: string;
  readonly name: string;
  readonly kind: "server" | "client" | "internal";
  /** Milliseconds since the epoch, with a fraction. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** What the status says where it is an error. */
  readonly error: string | undefined;
}

const { Field, Root, Type } = protobuf;

/** `[name, field number, type, repeated]` for each message that is read; the rest of the protocol is skipped. */
const MESSAGES: Readonly<
  Record<string, readonly (readonly [string, number, string, boolean?])[]>
> = {
  ExportTraceServiceRequest: [["resourceSpans", 1, "ResourceSpans", true]],
  ResourceSpans: [
    ["resource", 1, "Resource"],
    ["scopeSpans", 2, "ScopeSpans", true],
  ],
  Resource: [["attributes", 1, "KeyValue", true]],
  ScopeSpans: [["spans", 2, "Span", true]],
  Span: [
    ["traceId", 1, "bytes"],
    ["spanId", 2, "bytes"],
    ["parentSpanId", 4, "bytes"],
    ["name", 5, "string"],
    ["kind", 6, "int32"],
    ["startTimeUnixNano", 7, "fixed64"],
    ["endTimeUnixNano", 8, "fixed64"],
    ["attributes", 9, "KeyValue", true],
    ["status", 15, "Status"],
  ],
  Status: [
    ["message", 2, "string"],
    ["code", 3, "int32"],
  ],
  KeyValue: [
    ["key", 1, "string"],
    ["value", 2, "AnyValue"],
  ],
  AnyValue: [
    ["stringValue", 1, "string"],
    ["boolValue", 2, "bool"],
    ["intValue", 3, "int64"],
    ["doubleValue", 4, "double"],
  ],
};

const request = messageTypes();

function messageTypes(): protobuf.Type {
  const root = new Root();
  for (const [name, fields] of Object.entries(MESSAGES)) {
    const type = new Type(name);
    for (const [field, number, of, repeated] of fields)
      type.add(
        new Field(
          field,
          number,
          of,
          repeated === true ? "repeated" : undefined,
        ),
      );
    root.add(type);
  }
  return root.lookupType("ExportTraceServiceRequest");
}

interface KeyValue {
  readonly key?: string;
  readonly value?: {
    readonly stringValue?: string;
    readonly boolValue?: boolean;
    readonly intValue?: string;
    readonly doubleValue?: number;
  };
}

interface Export {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] };
    readonly scopeSpans?: readonly { readonly spans?: readonly WireSpan[] }[];
  }[];
}

interface WireSpan {
  readonly traceId?: Buffer;
  readonly spanId?: Buffer;
  readonly parentSpanId?: Buffer;
  readonly name?: string;
  readonly kind?: number;
  readonly startTimeUnixNano?: string;
  readonly endTimeUnixNano?: string;
  readonly attributes?: readonly KeyValue[];
  readonly status?: { readonly message?: string; readonly code?: number };
}

/** Every span of an export; throws where the bytes are not an ExportTraceServiceRequest. */
export function readExport(bytes: Buffer): ReceivedSpan[] {
  const message = request.toObject(request.decode(bytes), {
    longs: String,
    bytes: Buffer,
  }) as Export;
  const spans: ReceivedSpan[] = [];
  for (const { resource, scopeSpans } of message.resourceSpans ?? []) {
    const of = attributesOf(resource?.attributes);
    for (const scope of scopeSpans ?? [])
      for (const span of scope.spans ?? [])
        spans.push(
          spanOf(
            span,
            String(of["service.name"] ?? "unknown"),
            String(of["service.instance.id"] ?? ""),
          ),
        );
  }
  return spans;
}

/** SpanKind of the protocol: 2 is a server's, 3 a client's. */
const KINDS: Readonly<Record<number, ReceivedSpan["kind"]>> = {
  2: "server",
  3: "client",
};
const STATUS_ERROR = 2;

function spanOf(
  span: WireSpan,
  service: string,
  instance: string,
): ReceivedSpan {
  const failed = span.status?.code === STATUS_ERROR;
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: hex(span.parentSpanId),
    service,
    instance,
    name: span.name ?? "",
    kind: KINDS[span.kind ?? 0] ?? "internal",
    start: milliseconds(span.startTimeUnixNano),
    end: milliseconds(span.endTimeUnixNano),
    attributes: attributesOf(span.attributes),
    error: failed ? (span.status.message ?? "") : undefined,
  };
}

function attributesOf(
  pairs: readonly KeyValue[] = [],
): Record<string, string | number | boolean> {
  const attributes: Record<string, string | number | boolean> = {};
  for (const { key = "", value = {} } of pairs) {
    attributes[key] =
      value.stringValue ??
      value.boolValue ??
      (value.intValue === undefined
        ? value.doubleValue
        : Number(value.intValue)) ??
      "";
  }
  return attributes;
}

function hex(bytes: Buffer | undefined): string {
  return bytes?.toString("hex") ?? "";
}

/** Nanoseconds do not fit a double; the microseconds in them do. */
function milliseconds(nanoseconds = "0"): number {
  return Number(BigInt(nanoseconds) / 1000n) / 1000;
}
