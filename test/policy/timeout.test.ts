import t from "tap";
import {
  deadlineOf,
  effectiveTimeouts,
  formatGrpcTimeout,
  isEventStream,
  isMessageStream,
  isCallersDeadline,
  parseGrpcTimeout,
} from "../../src/policy/timeout.ts";
import { request } from "../support/resources/policy-fixtures.ts";

const NEVER = Number.POSITIVE_INFINITY;

void t.test(
  "a route's time-outs go before the mesh's default; 0s is off",
  (t) => {
    const effective = (
      route: Parameters<typeof effectiveTimeouts>[0],
      mesh = 0,
    ): readonly number[] => {
      const { request, backendRequest } = effectiveTimeouts(route, {
        request: mesh,
      });
      return [request, backendRequest];
    };
    t.strictSame(effective(undefined), [0, 0]);
    t.strictSame(effective(undefined, 3000), [3000, 0]);
    t.strictSame(effective({ request: "0s" }, 3000), [0, 0]);
    t.strictSame(
      effective({ request: "2s", backendRequest: "800ms" }, 3000),
      [2000, 800],
    );
    t.strictSame(effective({ backendRequest: "800ms" }, 3000), [3000, 800]);
    t.end();
  },
);

void t.test(
  "trap 11: the request time-out spans everything from the start",
  (t) => {
    const timeouts = { request: 2000, backendRequest: 800 };
    t.equal(deadlineOf(request("/"), timeouts, 100), 2100);
    t.equal(deadlineOf(request("/"), { ...timeouts, request: 0 }, 100), NEVER);
    t.end();
  },
);

void t.test(
  "trap 11: a tunnel has no request time-out, and a handshake has one",
  (t) => {
    const timeouts = { request: 2000, backendRequest: 0 };
    const connect = request("", { method: "CONNECT" });
    t.equal(deadlineOf(connect, timeouts, 0), NEVER);
    t.equal(deadlineOf(request("/chat"), timeouts, 0), 2000);
    t.end();
  },
);

void t.test("trap 11: an event stream is known by its media type", (t) => {
  for (const [type, expected] of [
    ["text/event-stream", true],
    ["Text/Event-Stream; charset=utf-8", true],
    ["text/event-streams", false],
    ["application/json", false],
    [undefined, false],
  ] as const)
    t.equal(isEventStream(type), expected, type ?? "absent");
  t.end();
});

void t.test("a stream of messages is known by its media type", (t) => {
  for (const [type, expected] of [
    ["application/x-ndjson", true],
    ["Application/NDJSON; charset=utf-8", true],
    ["application/jsonl", true],
    ["application/jsonlines", true],
    ["application/json-seq", true],
    ["application/stream+json", true],
    ["application/json;stream=watch", true],
    ["application/vnd.kubernetes.protobuf; stream=watch", true],
    ["multipart/x-mixed-replace;boundary=frame", true],
    ["application/json", false],
    ["application/json-patch+json", false],
    ["application/json; streams=1", false],
    ["multipart/form-data; boundary=x", false],
    ["application/octet-stream", false],
    [undefined, false],
  ] as const)
    t.equal(isMessageStream(type), expected, type ?? "absent");
  t.end();
});

void t.test(
  "trap 11: gRPC goes by grpc-timeout, whatever the route says",
  (t) => {
    const timeouts = { request: 2000, backendRequest: 0 };
    const grpc = (timeout?: string): ReturnType<typeof request> =>
      request("/shop.Cart/Add", {
        method: "POST",
        headers: {
          "content-type": "application/grpc+proto",
          ...(timeout === undefined ? {} : { "grpc-timeout": timeout }),
        },
      });
    t.equal(deadlineOf(grpc("5S"), timeouts, 10), 5010);
    t.equal(deadlineOf(grpc(), timeouts, 10), NEVER);
    t.equal(deadlineOf(grpc("soon"), timeouts, 10), NEVER);
    const web = request("/", {
      headers: { "content-type": "application/grpc-web", "grpc-timeout": "5S" },
    });
    t.equal(deadlineOf(web, timeouts, 10), 2010);
    t.end();
  },
);

void t.test("grpc-timeout is read and written as the protocol has it", (t) => {
  for (const [text, ms] of [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["4m", 4],
    ["5000u", 5],
    ["6000000n", 6],
    ["123456789S", undefined],
    ["S", undefined],
    ["5s", undefined],
    ["-5S", undefined],
    [undefined, undefined],
  ] as const)
    t.equal(parseGrpcTimeout(text), ms, text ?? "absent");
  for (const ms of [0, 0.5, 12.345, 4000, 250_000, 5e9]) {
    const text = formatGrpcTimeout(ms);
    const back = parseGrpcTimeout(text) ?? -1;
    t.ok(back <= ms && ms - back < 1000, `${ms} ms as ${text}`);
  }
  t.equal(formatGrpcTimeout(-1), "0u");
  t.equal(formatGrpcTimeout(1e15), "99999999S");
  t.end();
});

void t.test(
  "a server that reports its deadline as exceeded shortly before that of its caller speaks of the caller's",
  (t) => {
    for (const [given, left, callers] of [
      [1000, -5, true],
      [1000, 0, true],
      [1000, 50, true],
      [1000, 51, false],
      [60, 30, true],
      [60, 31, false],
      [0.5, 0.3, false],
      [-1, -2, true],
      [Infinity, Infinity, false],
    ] as const)
      t.equal(isCallersDeadline(given, left), callers, `${left} of ${given}`);
    t.end();
  },
);
