/** What the caller's side keeps of a request, how far its response has come, and what an exchange waits for. */
import t from "tap";
import { CallerSide } from "../../../src/proxy/exchange/caller-side.ts";
import { makeReplayBudget } from "../../../src/proxy/exchange/replay.ts";
import type { ClientStream, ResponseHead } from "../../../src/wire/exchange.ts";
import { makeField, type Fields } from "../../../src/wire/fields.ts";

const OK: ResponseHead = { status: 200, fields: [], contentLength: undefined };
const TRAILERS = [makeField("x-sum", "1")];

/** A caller that reads while `room` is true, and an attempt that takes all. */
function setUp(ended = false): {
  side: CallerSide;
  sink: ClientStream;
  heard: string[];
  caller: { room: boolean; retracts: boolean };
} {
  const heard: string[] = [];
  const caller = { room: true, retracts: false };
  const side = new CallerSide({
    ended,
    pause: () => heard.push("paused"),
    resume: () => heard.push("resumed"),
    informational: ({ status }) => heard.push(String(status)),
    respond: ({ status }) => heard.push(String(status)),
    retract: () => caller.retracts,
    write: () => caller.room,
  });
  const sink: ClientStream = {
    write: (chunk) => heard.push(`sent ${chunk.length}`) > 0,
    end: (trailers?: Fields) =>
      void heard.push(trailers === undefined ? "ended" : "ended with trailers"),
    abort: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
  };
  side.begin(makeReplayBudget());
  return { side, sink, heard, caller };
}

void t.test("what was read goes to each attempt, with the end", (t) => {
  const { side, sink, heard } = setUp();
  side.data(Buffer.alloc(10), undefined);
  side.data(Buffer.alloc(20), undefined);
  t.equal(side.ended, false);
  side.end(TRAILERS, undefined);
  t.equal(side.ended, true);
  const sent = ["sent 10", "sent 20", "ended with trailers"];
  side.sendTo(sink);
  t.same(heard.splice(0), sent);
  t.equal(side.replayable, true);
  side.sendTo(sink);
  t.same(heard.splice(0), sent, "again");
  side.release();
  t.equal(side.replayable, false);
  t.end();
});

void t.test("without an attempt, no more is read than is kept", (t) => {
  const { side, sink, heard } = setUp();
  side.data(Buffer.alloc(65_536), undefined);
  t.same(heard, []);
  t.equal(side.holds, false);
  side.data(Buffer.alloc(1), undefined);
  t.same(heard.splice(0), ["paused"]);
  t.equal(side.holds, true);
  side.sendTo(sink);
  t.same(heard, ["sent 65536", "sent 1", "resumed"], "none of it is lost");
  t.equal(side.replayable, false, "but it is not kept any longer (law 2)");
  t.equal(side.holds, false);
  t.end();
});

void t.test("a request is its head alone where nothing follows it", (t) => {
  t.equal(setUp(true).side.bodyless, true);
  const { side: empty } = setUp();
  t.equal(empty.bodyless, false, "something may come");
  empty.end(undefined, undefined);
  t.equal(empty.bodyless, true, "nothing has");
  const { side: trailers } = setUp();
  trailers.end(TRAILERS, undefined);
  t.equal(trailers.bodyless, false);
  const { side: body } = setUp();
  body.data(Buffer.alloc(1), undefined);
  body.end(undefined, undefined);
  t.equal(body.bodyless, false);
  t.end();
});

void t.test("the caller is waited for until it has sent, then to read", (t) => {
  const { side, heard, caller } = setUp();
  t.equal(side.isAwaited, true, "its body is missing");
  side.end(undefined, undefined);
  t.equal(side.isAwaited, false, "the endpoint is to answer");
  side.respond(OK, false);
  t.equal(side.isAwaited, false, "and to go on");
  t.equal(side.write(Buffer.alloc(1)), true);
  caller.room = false;
  t.equal(side.write(Buffer.alloc(1)), false);
  t.same([side.isAwaited, side.holds], [true, true], "it does not read");
  side.drained();
  t.same([side.isAwaited, side.holds], [false, false], "it does");
  t.same(heard, ["200"]);
  t.end();
});

void t.test("a caller whose flow is stopped is not waited for", (t) => {
  const { side, sink, heard } = setUp();
  side.sendTo(sink);
  t.equal(side.isAwaited, true);
  side.data(Buffer.alloc(10), { ...sink, write: () => false });
  t.same(heard, ["paused"]);
  t.same([side.isAwaited, side.holds], [false, true]);
  side.resume();
  t.same([side.isAwaited, side.holds], [true, false]);
  t.end();
});

void t.test("a 1xx commits, and the response has not begun", (t) => {
  const { side } = setUp();
  t.same([side.committed, side.responded], [false, false]);
  side.informational({ ...OK, status: 103 });
  t.same([side.committed, side.responded], [true, false]);
  side.respond(OK, false);
  t.same([side.committed, side.responded], [true, true]);
  t.end();
});

void t.test("the head of a response commits", (t) => {
  const { side } = setUp();
  side.respond(OK, false);
  t.same([side.committed, side.responded], [true, true]);
  t.end();
});

void t.test("an answer of our own needs a caller that has none", (t) => {
  const { side: none } = setUp();
  t.equal(none.yields(), true);
  t.equal(none.responded, true, "it has that one now");
  const { side, caller } = setUp();
  side.respond(OK, false);
  t.equal(side.yields(), false);
  caller.retracts = true;
  t.equal(side.yields(), true, "nothing of the other has left");
  t.end();
});
