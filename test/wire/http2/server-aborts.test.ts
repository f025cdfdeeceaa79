/** The server's end when exchanges fail: aborts, resets, tunnels, defects (RFC 9113 5.4.2, 8.1, 8.5). */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { ServerStream } from "../../../src/wire/exchange.ts";
import type { Code } from "../../../src/mesh/reasons.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
} from "../../../src/wire/http2/frames/frames.ts";
import {
  IGNORE,
  lines,
  OK,
  rawClient,
  Recorder,
} from "../../support/http2/ends.ts";
import {
  data,
  GET,
  headers,
  POST,
  reset,
  type Pairs,
} from "../../support/http2/raw-peer.ts";

const { END_STREAM } = Flag;
const CONNECT: Pairs = [
  [":method", "CONNECT"],
  [":authority", "db:5432"],
];

void t.test(
  "a complete answer before the request's end: RST_STREAM NO_ERROR (8.1)",
  async (t) => {
    const { peer, requests, connection } = await rawClient(t);
    peer.send(headers(1, POST, false));
    const stream = await requests.get();
    const recorder = new Recorder();
    stream.receive(recorder);
    stream.respond(OK, false);
    stream.write(Buffer.from("enough"));
    stream.end();
    t.equal((await peer.next(FrameType.DATA, 1)).flags, END_STREAM);
    t.equal(await peer.resetCode(1), ErrorCode.NO_ERROR);
    t.equal(connection.active, 0);
    peer.send(data(1, "more", true));
    await peer.settle();
    t.strictSame(recorder.events, ["abort"], "as in HTTP/1.1");
    t.match(recorder.error, { code: "CLIENT_CLOSED", source: "downstream" });
    t.equal(stream.write(Buffer.from("late")), true);
    stream.end();
    stream.abort(new MeshError("INTERNAL", "", { source: "proxy" }));
  },
);

void t.test("tunnels end in each direction by itself (8.5)", async (t) => {
  const { peer, requests, connection } = await rawClient(t);
  for (const first of ["client", "server"] as const) {
    const id = first === "client" ? 1 : 3;
    const pairs =
      first === "client"
        ? CONNECT
        : [
            ...POST.slice(1),
            [":method", "CONNECT"] as const,
            [":protocol", "websocket"] as const,
          ];
    peer.send(headers(id, pairs, false));
    const stream = await requests.get((id - 1) / 2);
    const recorder = new Recorder();
    stream.receive(recorder);
    stream.respond(first === "client" ? OK : { ...OK, status: 101 }, false);
    peer.send(data(id, "up"));
    await recorder.untilBody(2);
    if (first === "client") {
      peer.send(data(id, "", true));
      await recorder.until("end");
      stream.write(Buffer.from("down"));
      stream.end();
      t.equal((await peer.next(FrameType.DATA, id)).payload.toString(), "down");
    } else {
      stream.end();
      await peer.next(FrameType.HEADERS, id);
      peer.send(data(id, "more"));
      await recorder.untilBody(6);
      peer.send(data(id, "", true));
      await recorder.until("end");
    }
    t.strictSame(
      (await peer.settle()).filter(({ type }) => type === FrameType.RST_STREAM),
      [],
    );
    t.equal(connection.active, 0);
  }
});

void t.test("a refused tunnel is no tunnel", async (t) => {
  const { peer, requests } = await rawClient(t);
  peer.send(headers(1, CONNECT, false));
  (await requests.get()).respond({ ...OK, status: 403 }, true);
  t.equal(await peer.resetCode(1), ErrorCode.NO_ERROR);
});

void t.test("aborts tell the client as much as it may know (7)", async (t) => {
  const { peer, requests } = await rawClient(t);
  const table: readonly (readonly [Code, boolean, boolean, number])[] = [
    ["CLIENT_CLOSED", false, false, ErrorCode.CANCEL],
    ["REQUEST_TIMEOUT", false, true, ErrorCode.CANCEL],
    ["IDLE_TIMEOUT", false, true, ErrorCode.CANCEL],
    ["DENIED", false, true, ErrorCode.CANCEL],
    ["TOKEN_INVALID", false, true, ErrorCode.CANCEL],
    ["PROVIDER_DENIED", false, true, ErrorCode.CANCEL],
    ["BODY_TOO_LARGE", false, true, ErrorCode.CANCEL],
    ["OVERLOADED", false, true, ErrorCode.CANCEL],
    ["OVERLOADED", true, false, ErrorCode.REFUSED_STREAM],
    ["REVOKED", false, true, ErrorCode.CANCEL],
    ["INTERNAL", false, true, ErrorCode.INTERNAL_ERROR],
    ["UPSTREAM_RESET", false, true, ErrorCode.INTERNAL_ERROR],
    ["UPSTREAM_RESET", true, false, ErrorCode.REFUSED_STREAM],
    ["UPSTREAM_RESET", true, true, ErrorCode.INTERNAL_ERROR],
  ];
  let id = 1;
  for (const [code, unprocessed, responded, expected] of table) {
    peer.send(headers(id, POST, false));
    const stream = await requests.get((id - 1) / 2);
    const recorder = new Recorder();
    stream.receive(recorder);
    if (responded) stream.respond(OK, false);
    stream.abort(new MeshError(code, "", { source: "proxy", unprocessed }));
    t.equal(await peer.resetCode(id), expected, code);
    t.strictSame(recorder.events, [], "who aborts is not told");
    id += 2;
  }
});

void t.test(
  "a client's reset reaches the receiver, before and after the request's end, or when it comes",
  async (t) => {
    const { peer, requests, connection } = await rawClient(t);
    const recorders = [new Recorder(), new Recorder(), new Recorder()];
    peer.send(
      headers(1, POST, false),
      headers(3, GET),
      headers(5, POST, false),
      data(5, "early"),
    );
    for (const at of [0, 1]) {
      const recorder = recorders[at];
      if (recorder !== undefined) (await requests.get(at)).receive(recorder);
    }
    const third = await requests.get(2);
    for (const id of [1, 3, 5]) peer.send(reset(id, ErrorCode.CANCEL));
    await peer.settle();
    if (recorders[2] !== undefined) third.receive(recorders[2]);
    for (const { events, error } of recorders) {
      t.strictSame(events, ["abort"]);
      t.match(error, {
        code: "CLIENT_CLOSED",
        source: "downstream",
        message: /CANCEL/,
      });
    }
    t.equal(connection.active, 0);
  },
);

void t.test("the connection's death reaches every stream", async (t) => {
  const { peer, requests, connection } = await rawClient(t);
  const recorder = new Recorder();
  peer.send(headers(1, POST, false), headers(3, GET));
  (await requests.get(0)).receive(recorder);
  const second = await requests.get(1);
  peer.socket.resetAndDestroy();
  await recorder.until("abort");
  t.match(recorder.error, { code: "CLIENT_CLOSED" });
  t.equal(connection.active, 0);
  second.respond(OK, true);
  const late = new Recorder();
  second.receive(late);
  t.strictSame(late.events, ["abort"], "or when its receiver comes");
  t.match(late.error, { code: "CLIENT_CLOSED", source: "downstream" });
});

void t.test(
  "content that comes before there is a receiver waits, and so does the end",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    peer.send(
      headers(1, POST, false),
      data(1, "a"),
      data(1, "b"),
      headers(1, [["x", "1"]]),
    );
    const stream = await requests.get();
    t.equal(stream.ended, false);
    await peer.settle();
    const recorder = new Recorder();
    stream.receive(recorder);
    t.strictSame(recorder.events, ["data", "end"]);
    t.strictSame(lines(recorder.trailers), ["x: 1"]);
    peer.send(headers(3, POST, false), data(3, "a"), data(3, "b"));
    const second = await requests.get(1);
    await peer.settle();
    const aborting = new Recorder();
    aborting.onChunk = () =>
      second.abort(new MeshError("DENIED", "", { source: "proxy" }));
    second.receive(aborting);
    t.strictSame(aborting.events, ["data"], "nothing after an abort");
  },
);

void t.test(
  "a handler or receiver that throws costs its stream, not the process",
  async (t) => {
    const { peer, requests } = await rawClient(t);
    let thrown: ServerStream | undefined;
    requests.onRequest = (stream) => {
      thrown ??= stream;
      const { path } = stream.head;
      if (path === "/request") throw new Error("in request");
      stream.receive({
        ...IGNORE,
        data: () => {
          throw new Error("in data");
        },
        end: () => {
          throw new Error("in end");
        },
        abort: () => {
          throw new Error("in abort");
        },
      });
    };
    const path = (it: string): Pairs => [...POST.slice(0, 3), [":path", it]];
    peer.send(headers(1, path("/request"), false));
    t.equal(await peer.resetCode(1), ErrorCode.INTERNAL_ERROR);
    const late = new Recorder();
    thrown?.receive(late);
    t.match(late.error, { code: "INTERNAL" });
    peer.send(headers(3, path("/data"), false), data(3, "x"));
    t.equal(await peer.resetCode(3), ErrorCode.INTERNAL_ERROR);
    peer.send(headers(5, path("/end"), false), data(5, "", true));
    t.equal(await peer.resetCode(5), ErrorCode.INTERNAL_ERROR);
    peer.send(headers(7, path("/abort"), false), reset(7, 8));
    await peer.settle();
    t.strictSame(requests.refusals, [
      "INTERNAL: in request",
      "INTERNAL: in data",
      "INTERNAL: in end",
    ]);
  },
);
