/** The messages of `envoy.service.auth.v3`, by field number: what the check says of a call, and what may be said in return. */
import {
  many,
  map,
  messageTypes,
  one,
  type Field,
} from "../../../push/message-types.ts";

const TYPES: Readonly<Record<string, readonly Field[]>> = {
  // envoy.service.auth.v3
  CheckRequest: [one(1, "attributes", "AttributeContext")],
  AttributeContext: [
    one(1, "source", "Peer"),
    one(2, "destination", "Peer"),
    one(4, "request", "Request"),
  ],
  Peer: [one(1, "address", "Address"), one(4, "principal", "string")],
  Request: [one(1, "time", "Timestamp"), one(2, "http", "HttpRequest")],
  HttpRequest: [
    one(1, "id", "string"),
    one(2, "method", "string"),
    map(3, "headers", "string"),
    one(4, "path", "string"),
    one(5, "host", "string"),
    one(6, "scheme", "string"),
    one(9, "size", "int64"),
    one(10, "protocol", "string"),
    one(11, "body", "string"),
    one(12, "rawBody", "bytes"),
  ],
  CheckResponse: [
    one(1, "status", "Status"),
    one(2, "denied", "DeniedHttpResponse"),
    one(3, "ok", "OkHttpResponse"),
  ],
  DeniedHttpResponse: [
    one(1, "status", "HttpStatus"),
    many(2, "headers", "HeaderValueOption"),
    one(3, "body", "string"),
  ],
  OkHttpResponse: [
    many(2, "headers", "HeaderValueOption"),
    many(5, "headersToRemove", "string"),
    many(6, "responseHeaders", "HeaderValueOption"),
    many(7, "queryToSet", "Nothing"),
    many(8, "queryToRemove", "string"),
  ],
  Nothing: [],
  // envoy.type.v3
  HttpStatus: [one(1, "code", "int32")],
  // envoy.config.core.v3
  Address: [one(1, "socketAddress", "SocketAddress")],
  SocketAddress: [one(2, "address", "string"), one(3, "port", "uint32")],
  HeaderValueOption: [
    one(1, "header", "HeaderValue"),
    one(2, "append", "BoolValue"),
  ],
  HeaderValue: [
    one(1, "key", "string"),
    one(2, "value", "string"),
    one(3, "rawValue", "bytes"),
  ],
  // google.protobuf, google.rpc
  BoolValue: [one(1, "value", "bool")],
  Timestamp: [one(1, "seconds", "int64"), one(2, "nanos", "int32")],
  Status: [one(1, "code", "int32"), one(2, "message", "string")],
};

export interface CheckPeer {
  readonly address: {
    readonly socketAddress: { readonly address: string; readonly port: number };
  };
  /** SPIFFE id; "" where it proved none. */
  readonly principal: string;
}

export interface CheckHttp {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly path: string;
  readonly host: string;
  readonly scheme: string;
  readonly size: number;
  readonly protocol: string;
  readonly body?: string;
  readonly rawBody?: Buffer;
}

export interface CheckRequest {
  readonly attributes: {
    readonly source: CheckPeer;
    readonly destination: CheckPeer;
    readonly request: {
      readonly time: { readonly seconds: number; readonly nanos: number };
      readonly http?: CheckHttp;
    };
  };
}

export interface HeaderValue {
  readonly key: string;
  readonly value: string;
  readonly rawValue: Buffer;
}

export interface HeaderValueOption {
  readonly header: HeaderValue | null;
  readonly append: { readonly value: boolean } | null;
}

export interface CheckResponse {
  readonly status: { readonly code: number } | null;
  readonly denied: {
    readonly status: { readonly code: number } | null;
    readonly headers: readonly HeaderValueOption[];
    readonly body: string;
  } | null;
  readonly ok: {
    readonly headers: readonly HeaderValueOption[];
    readonly headersToRemove: readonly string[];
    readonly responseHeaders: readonly HeaderValueOption[];
    readonly queryToSet: readonly object[];
    readonly queryToRemove: readonly string[];
  } | null;
}

const typeOf = messageTypes(TYPES);
const requestType = typeOf("CheckRequest");
const responseType = typeOf("CheckResponse");

export function encodeCheck(request: CheckRequest): Buffer {
  return Buffer.from(
    requestType.encode(requestType.fromObject({ ...request })).finish(),
  );
}

/** Throws on what is not one. */
export function decodeCheck(bytes: Buffer): CheckResponse {
  return responseType.toObject(responseType.decode(bytes), {
    defaults: true,
    arrays: true,
    longs: Number,
  }) as CheckResponse;
}
