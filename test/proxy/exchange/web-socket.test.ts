/** How a WebSocket is concluded where its two sides do not help. */
import t from "tap";
import { Deadlines } from "../../../src/core/deadlines.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/proxy/downstream/limits.ts";
import { WebSocketStream } from "../../../src/proxy/exchange/web-socket.ts";
import type { BodyReceiver, ServerStream } from "../../../src/wire/exchange.ts";
import { connectHead } from "../../../src/wire/tcp.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { closeOf, frame, FrameReader } from "../../support/peers/websocket.ts";

const DENIED = new MeshError("DENIED", "", { source: "proxy" });
const OPEN = { status: 101, fields: [], contentLength: undefined };

interface Staged {
  readonly clock: FakeClock;
  readonly stream: WebSocketStream;
  /** What the caller does. */
  readonly caller: BodyReceiver;
  /** What is done to the caller, and to the relay. */
  readonly seen: string[];
  readonly deadlines: Deadlines;
}

function staged(status: number = 101): Staged {
  const clock = fakeClock();
  const deadlines = new Deadlines(clock);
  const seen: string[] = [];
  const receivers: BodyReceiver[] = [];
  const note = (what: string) => (): void => void seen.push(what);
  const told = (to: string): ((chunk: Buffer) => boolean) => {
    const reader = new FrameReader();
    return (chunk) => {
      for (const each of reader.read(chunk))
        seen.push(
          each.first === 0x88
            ? `${to}: close ${closeOf(each).code} ${closeOf(each).reason}`
            : `${to}: ${each.payload.toString()}`,
        );
      return true;
    };
  };
  const callers: ServerStream = {
    head: { ...connectHead("orders.shop"), method: "GET", path: "/chat" },
    ended: false,
    connection: {
      protocol: "http/1.1",
      peer: undefined,
      remoteAddress: "127.0.0.1",
      remotePort: 1,
      localAddress: "127.0.0.1",
      originalDestination: undefined,
    },
    receive: (receiver) => void receivers.push(receiver),
    informational: note("informational"),
    respond: ({ status: responded }) => void seen.push(`status ${responded}`),
    write: told("caller"),
    end: note("caller: end"),
    abort: note("caller: abort"),
    pause: note("pause"),
    resume: note("resume"),
    retract: () => true,
  };
  const record = {
    opened: note("recorded 101"),
    concluded: ({ code }: MeshError) => void seen.push(`recorded ${code}`),
  };
  const stream = new WebSocketStream(
    { clock, deadlines, limits: DEFAULT_LIMITS },
    callers,
    record,
    false,
  );
  const toRelay = told("relay");
  stream.receive({
    data: (chunk) => void toRelay(chunk),
    end: note("relay: end"),
    abort: note("relay: abort"),
    drained: note("relay: drained"),
    refused: note("relay: refused"),
  });
  stream.respond({ ...OPEN, status }, false);
  seen.length = 0;
  const [caller] = receivers;
  if (caller === undefined) throw new Error("nobody receives");
  return { clock, stream, caller, seen, deadlines };
}

void t.test("between two frames it is closed at once", (t) => {
  const { stream, caller, seen, deadlines } = staged();
  stream.write(frame(0x81, "down", false));
  caller.data(frame(0x81, "up", true));
  t.equal(stream.conclude(DENIED), true);
  t.strictSame(seen, [
    "caller: down",
    "relay: up",
    "recorded DENIED",
    "caller: close 1008 ",
    "caller: end",
    "relay: close 1008 DENIED",
    "relay: end",
    "resume",
  ]);
  seen.length = 0;
  stream.write(frame(0x81, "more", false));
  caller.data(frame(0x88, "", true));
  stream.pause();
  t.strictSame(seen, [], "nothing crosses any more, and the caller is read");
  t.equal(deadlines.members.length, 1);
  caller.end(undefined);
  stream.end();
  t.equal(deadlines.members.length, 0, "nothing is left to wait for");
  t.strictSame(seen, []);
  t.equal(stream.conclude(DENIED), true);
  t.strictSame(seen, [], "once");
  t.end();
});

void t.test("a frame under way comes to its end, and no further one", (t) => {
  const { stream, caller, seen } = staged();
  const down = frame(0x81, "down", false);
  const up = frame(0x81, "up", true);
  stream.write(down.subarray(0, 3));
  caller.data(up.subarray(0, 1));
  stream.conclude(DENIED);
  t.strictSame(seen, ["recorded DENIED"]);
  seen.length = 0;
  stream.write(Buffer.concat([down.subarray(3), down]));
  t.strictSame(seen, ["caller: down", "caller: close 1008 ", "caller: end"]);
  seen.length = 0;
  caller.data(up.subarray(1));
  t.strictSame(seen, ["relay: up", "relay: close 1008 DENIED", "relay: end"]);
  t.end();
});

void t.test("what does not end in time is broken off", (t) => {
  const { clock, stream, seen } = staged();
  stream.write(frame(0x81, "down", false).subarray(0, 3));
  stream.conclude(DENIED);
  seen.length = 0;
  clock.advance(2999);
  t.strictSame(seen, []);
  clock.advance(1);
  t.strictSame(seen, ["relay: refused", "caller: abort"]);
  t.end();
});

void t.test("a side that has said Close hears no second one", (t) => {
  const { stream, caller, seen } = staged();
  stream.write(frame(0x88, Buffer.from([3, 232]), false));
  caller.data(frame(0x88, Buffer.from([3, 232]), true));
  seen.length = 0;
  stream.conclude(DENIED);
  t.strictSame(seen, [
    "recorded DENIED",
    "caller: end",
    "relay: end",
    "resume",
  ]);
  t.end();
});

for (const [what, leave, within] of [
  ["the caller's FIN", ({ caller }) => caller.end(undefined), 3000],
  [
    "the caller's Close",
    ({ caller }) => caller.data(frame(0x88, Buffer.from([3, 232]), true)),
    3000,
  ],
  ["the application's FIN", ({ stream }) => stream.end(), 60_000],
  [
    "the application's Close",
    ({ stream }) => stream.write(frame(0x88, Buffer.from([3, 232]), false)),
    60_000,
  ],
] satisfies [string, (of: Staged) => unknown, number][])
  void t.test(`${what} is the beginning of the end for both`, (t) => {
    const all = staged();
    const { clock, caller, stream, seen } = all;
    leave(all);
    seen.length = 0;
    clock.advance(within - 1);
    caller.data(frame(0x81, "", true));
    seen.length = 0;
    clock.advance(1);
    t.strictSame(seen, ["relay: refused", "caller: abort"]);
    const answered = staged();
    leave(answered);
    answered.caller.end(undefined);
    answered.stream.end();
    t.equal(answered.deadlines.members.length, 0, "both have gone");
    t.equal(stream.conclude(DENIED), true);
    t.end();
  });

void t.test("codes say whether to come again", (t) => {
  for (const [code, expected] of [
    ["DENIED", 1008],
    ["NOT_ALLOWED", 1008],
    ["MTLS_REQUIRED", 1008],
    ["UNKNOWN_DESTINATION", 1008],
    ["DRAINING", 1001],
    ["IDLE_TIMEOUT", 1001],
  ] as const) {
    const { stream, seen } = staged();
    stream.conclude(new MeshError(code, ""));
    t.equal(seen[1], `caller: close ${expected} `, code);
  }
  t.end();
});

void t.test("before the 101, and instead of it, there are no frames", (t) => {
  const { stream, seen } = staged(403);
  t.equal(stream.conclude(DENIED), false);
  t.ok(stream.retract());
  stream.write(Buffer.from([0x81, 0x01, 0x41]));
  stream.end();
  t.strictSame(seen, ["caller: A", "caller: end"]);
  t.end();
});
