/** Every reason has its status, its gRPC status and its advice; nothing else gives one. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import { REASONS } from "../../../src/mesh/reasons.ts";
import type { Code } from "../../../src/mesh/reasons.ts";
import { reasonValue, rescue } from "../../../src/proxy/exchange/rescue.ts";
import {
  fieldValue,
  makeField,
  type Fields,
} from "../../../src/wire/fields.ts";
import type { ResponseHead, ServerStream } from "../../../src/wire/exchange.ts";

/** HTTP: RFC 9110 15 and the field's usual; gRPC: statuscodes.md. */
const TABLE: readonly (readonly [Code, number, number, boolean])[] = [
  ["BAD_REQUEST", 400, 13, false],
  ["HEADERS_TOO_LARGE", 431, 8, false],
  ["BODY_TOO_LARGE", 413, 8, false],
  ["EXPECTATION_FAILED", 417, 13, false],
  ["UNSUPPORTED", 501, 12, false],
  ["TUNNEL_REFUSED", 405, 12, false],
  ["REQUEST_STALLED", 408, 4, false],
  ["RESPONSE_STALLED", 408, 4, false],
  ["LOOP", 508, 13, false],
  ["DENIED", 403, 7, false],
  ["NOT_ALLOWED", 403, 7, false],
  ["REVOKED", 403, 7, false],
  ["PROVIDER_DENIED", 403, 7, false],
  ["PROVIDER_FAILED", 403, 7, false],
  ["MTLS_REQUIRED", 403, 7, false],
  ["TOKEN_INVALID", 401, 16, false],
  ["TOKEN_AUDIENCE", 403, 7, false],
  ["TOKEN_KEYS_UNAVAILABLE", 401, 16, false],
  ["MISDIRECTED", 421, 13, false],
  ["NO_ROUTE", 404, 12, false],
  ["DEADLINE_EXCEEDED", 504, 4, false],
  ["BACKEND_INVALID", 500, 14, false],
  ["UNKNOWN_DESTINATION", 502, 14, false],
  ["NO_CONFIG", 503, 14, true],
  ["NO_ENDPOINT", 503, 14, true],
  ["BREAKER_OPEN", 503, 14, true],
  ["OVERFLOW", 503, 14, true],
  ["REQUEST_TIMEOUT", 504, 4, false],
  ["ATTEMPT_TIMEOUT", 504, 4, false],
  ["IDLE_TIMEOUT", 504, 4, false],
  ["DRAINING", 503, 14, true],
  ["OVERLOADED", 503, 8, true],
  ["RATE_LIMITED", 429, 8, true],
  ["SHED", 503, 8, false],
  ["FAULT_INJECTED", 503, 14, false],
  ["CONNECT_FAILED", 503, 14, false],
  ["MACHINE_ERROR", 503, 14, true],
  ["CONNECT_TIMEOUT", 503, 14, false],
  ["TLS_FAILED", 503, 14, false],
  ["WRONG_IDENTITY", 503, 14, false],
  ["APPLICATION_UNREACHABLE", 503, 14, false],
  ["STREAM_REFUSED", 503, 14, false],
  ["UPSTREAM_RESET", 503, 14, false],
  ["UPSTREAM_PROTOCOL", 502, 13, false],
  ["BAD_QUESTION", 400, 3, false],
  ["NOT_LOCAL", 403, 7, false],
  ["CROSS_SITE", 403, 7, false],
  ["TOKEN_REQUIRED", 401, 16, false],
  ["NO_PAGE", 404, 12, false],
  ["NOT_READY", 503, 14, false],
  ["INTERNAL", 500, 13, false],
];

interface Sent {
  head: ResponseHead | undefined;
  body: string;
  ended: boolean;
  aborted: boolean;
}

function fakeStream(
  method: string,
  fields: Fields,
  connection: Partial<ServerStream["connection"]> = {},
): { stream: ServerStream; sent: Sent } {
  const sent: Sent = {
    head: undefined,
    body: "",
    ended: false,
    aborted: false,
  };
  const stream: ServerStream = {
    head: {
      method,
      scheme: "http",
      authority: "orders.shop",
      path: "/",
      protocol: undefined,
      fields,
      contentLength: undefined,
      acceptsTrailers: false,
      absoluteForm: false,
    },
    ended: true,
    connection: {
      protocol: "h2",
      peer: undefined,
      remoteAddress: "",
      remotePort: 0,
      localAddress: "127.0.0.1",
      originalDestination: undefined,
      ...connection,
    },
    receive: () => undefined,
    informational: () => undefined,
    respond(head, ended) {
      sent.head = head;
      sent.ended = ended;
    },
    write(chunk) {
      sent.body += chunk.toString();
      return true;
    },
    end: () => (sent.ended = true),
    abort: () => (sent.aborted = true),
    pause: () => undefined,
    resume: () => undefined,
  };
  return { stream, sent };
}

function errorOf(code: Code): MeshError {
  return new MeshError(code, "what happened", {
    source: "proxy",
    policy: "shop/p",
  });
}

void t.test("the table covers every reason", (t) => {
  t.same(
    [...TABLE.map(([code]) => code), "CLIENT_CLOSED"].sort(),
    Object.keys(REASONS).sort(),
  );
  t.end();
});

void t.test(
  "to HTTP: the status, the reason, what happened and what to do",
  (t) => {
    for (const [code, status, , retryAfter] of TABLE) {
      const { stream, sent } = fakeStream("GET", []);
      t.equal(rescue(stream, errorOf(code), { inside: true }), status, code);
      t.equal(sent.head?.status, status);
      const fields = sent.head?.fields ?? [];
      t.equal(fieldValue(fields, "x-wherry-reason"), `${code}; policy=shop/p`);
      t.equal(fieldValue(fields, "retry-after") !== undefined, retryAfter);
      t.match(sent.body, new RegExp(`^${code}: what happened\\. [A-Z]`));
      t.equal(sent.head?.contentLength, Buffer.byteLength(sent.body));
      t.ok(sent.ended);
    }
    t.end();
  },
);

void t.test("to gRPC: trailers only, under HTTP 200", (t) => {
  for (const [code, , grpc] of TABLE) {
    const { stream, sent } = fakeStream("POST", [
      makeField("content-type", "application/grpc+proto"),
    ]);
    t.equal(rescue(stream, errorOf(code), { inside: true }), 200, code);
    const fields = sent.head?.fields ?? [];
    t.equal(fieldValue(fields, "grpc-status"), String(grpc));
    t.equal(fieldValue(fields, "grpc-message"), "what happened");
    t.ok(sent.ended && sent.body === "");
  }
  t.end();
});

void t.test("what describes the page of an answer stays with it", (t) => {
  const describing = ["content-type", "content-encoding", "content-language"];
  const fields = describing.map((name) => [name, "x"] as const);
  for (const grpc of [true, false]) {
    const { stream, sent } = fakeStream("POST", [
      ...(grpc ? [makeField("content-type", "application/grpc")] : []),
    ]);
    const answer = { fields, body: Buffer.from("no") };
    const error = new MeshError("PROVIDER_DENIED", "", { answer });
    rescue(stream, error, { inside: true });
    const names = (sent.head?.fields ?? []).map(({ name, value }) =>
      value === "x" ? name : "",
    );
    t.same(names.filter(Boolean), grpc ? [] : describing);
  }
  t.end();
});

void t.test("strangers learn no reason and no detail", (t) => {
  const { stream, sent } = fakeStream("GET", []);
  rescue(stream, errorOf("DENIED"), { inside: false });
  t.notOk(fieldValue(sent.head?.fields ?? [], "x-wherry-reason"));
  t.notMatch(sent.body, /what happened|shop\/p/);
  t.end();
});

void t.test("nor do they by gRPC, whatever failed", (t) => {
  for (const [code, , grpc] of TABLE) {
    const { stream, sent } = fakeStream(
      "POST",
      [makeField("content-type", "application/grpc")],
      { protocol: "h2" },
    );
    rescue(stream, errorOf(code), { inside: false });
    const fields = sent.head?.fields ?? [];
    t.equal(fieldValue(fields, "grpc-status"), String(grpc), code);
    t.equal(fieldValue(fields, "grpc-message"), REASONS[code].text, code);
    t.notMatch(JSON.stringify(fields), /what happened|shop\/p/);
  }
  t.end();
});

void t.test("HEAD gets the head alone", (t) => {
  const { stream, sent } = fakeStream("HEAD", []);
  rescue(stream, errorOf("NO_ROUTE"), { inside: true });
  t.match(sent, { body: "", ended: true });
  t.end();
});

void t.test("a caller who is gone gets nothing", (t) => {
  const { stream, sent } = fakeStream("GET", []);
  t.equal(rescue(stream, errorOf("CLIENT_CLOSED"), { inside: true }), 499);
  t.match(sent, { head: undefined, aborted: true });
  t.end();
});

void t.test("grpc-message is percent-encoded", (t) => {
  const { stream, sent } = fakeStream("POST", [
    makeField("content-type", "application/grpc"),
  ]);
  rescue(stream, new MeshError("NO_ROUTE", "ä 100%\n", { source: "proxy" }), {
    inside: true,
  });
  t.equal(
    fieldValue(sent.head?.fields ?? [], "grpc-message"),
    "%C3%A4 100%25%0A",
  );
  t.end();
});

void t.test("a reason without a policy is the code alone", (t) => {
  t.equal(
    reasonValue(new MeshError("NO_CONFIG", "", { source: "proxy" })),
    "NO_CONFIG",
  );
  t.end();
});

void t.test("gRPC is what is spoken, not what a content type says", (t) => {
  const fields = [makeField("content-type", "application/grpc")];
  const denied = new MeshError("DENIED", "", { source: "proxy" });
  const statusOf = (protocol: "h2" | "http/1.1", inside: boolean): number =>
    rescue(fakeStream("POST", fields, { protocol }).stream, denied, { inside });
  t.equal(statusOf("h2", false), 200);
  t.equal(statusOf("http/1.1", false), 403, "a stranger");
  t.equal(statusOf("http/1.1", true), 200, "the link may speak HTTP/1.1");
  t.end();
});
