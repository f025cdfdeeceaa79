/** A held stream: what comes while it is held, how much of it is read, and what the relay gets afterwards. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import { HeldStream } from "../../../src/proxy/checks/held-stream.ts";
import type { BodyReceiver } from "../../../src/wire/exchange.ts";
import { Buffers } from "../../../src/wire/buffers.ts";
import { makeField, type Fields } from "../../../src/wire/fields.ts";
import {
  scriptedStream,
  type ScriptedStream,
} from "../../support/checks/scripted-stream.ts";

const SET = { add: [], remove: new Set<string>() };

interface Held {
  readonly stream: ScriptedStream;
  readonly held: HeldStream;
  readonly buffers: Buffers;
  readonly seen: string[];
}

function hold(
  stream: ScriptedStream = scriptedStream(),
  limit = 1_000_000,
): Held {
  const buffers = new Buffers(limit);
  const held = new HeldStream(stream, buffers);
  const seen: string[] = [];
  held.hold({
    arrived: () => seen.push(`arrived ${held.bytes}`),
    gone: ({ code }) => seen.push(`gone ${code}`),
  });
  return { stream, held, buffers, seen };
}

/** Writes down what the relay gets. */
function relay(seen: string[]): BodyReceiver {
  return {
    data: (chunk) => seen.push(`data ${chunk.toString()}`),
    end: (trailers) =>
      seen.push(`end ${trailers === undefined ? "" : trailers.length}`),
    abort: ({ code }) => seen.push(`abort ${code}`),
    drained: () => seen.push("drained"),
  };
}

void t.test(
  "the first piece stops the flow, and the relay gets it once it is let go",
  (t) => {
    const { stream, held, buffers, seen } = hold();
    stream.receiver.data(Buffer.from("one"));
    t.same(stream.heard, ["pause"]);
    t.equal(buffers.held, 3, "it is counted among what the proxy holds");
    held.receive(relay(seen));
    t.same(seen, ["arrived 3", "data one"]);
    t.same(stream.heard, ["pause", "resume"]);
    t.equal(buffers.held, 0);
    stream.receiver.data(Buffer.from("two"));
    stream.receiver.drained();
    stream.receiver.end([]);
    t.same(seen.slice(2), ["data two", "drained", "end 0"]);
    t.end();
  },
);

void t.test("as much is read as a check has to see, and one more", (t) => {
  const { stream, held } = hold();
  held.readUpTo(5);
  stream.receiver.data(Buffer.from("12345"));
  t.same(stream.heard, [], "there may be no more than that");
  stream.receiver.data(Buffer.from("6"));
  t.same(stream.heard, ["pause"]);
  t.equal(held.bytes, 6);
  t.notOk(held.complete);
  held.readUpTo(8);
  t.same(stream.heard, ["pause", "resume"], "another check has to see more");
  stream.receiver.end(undefined);
  t.ok(held.complete);
  t.equal(Buffer.concat(held.body).toString(), "123456");
  t.end();
});

void t.test("a relay that stops the flow at once is not overruled", (t) => {
  const { stream, held, seen } = hold();
  stream.receiver.data(Buffer.from("one"));
  held.receive({ ...relay(seen), data: () => held.pause() });
  t.same(stream.heard, ["pause", "pause"]);
  t.end();
});

void t.test(
  "a caller that goes away is heard, and what was held is given back",
  (t) => {
    const { stream, held, buffers, seen } = hold();
    stream.receiver.data(Buffer.from("one"));
    stream.receiver.abort(new MeshError("CLIENT_CLOSED", ""));
    t.same(seen, ["arrived 3", "gone CLIENT_CLOSED"]);
    t.equal(buffers.held, 0);
    held.receive(relay(seen));
    t.same(seen.slice(2), ["abort CLIENT_CLOSED"], "the relay hears it too");
    t.end();
  },
);

void t.test("trailers and an empty body reach the relay as they came", (t) => {
  const whole = hold();
  whole.stream.receiver.end([]);
  whole.held.receive(relay(whole.seen));
  t.same(whole.seen, ["arrived 0", "end 0"]);
  const bare = hold(scriptedStream({}, {}, true));
  t.ok(bare.held.complete);
  bare.held.receive(relay(bare.seen));
  t.same(bare.seen, [], "where there was no body there is no end of one");
  t.end();
});

void t.test("a trailer of a reserved name goes no further", (t) => {
  const rows: readonly (readonly [names: readonly string[], seen: string])[] = [
    [["x-user", "x_user", "x-role"], "end "],
    [["x-user", "x-sum"], "end 1"],
    [["x-sum", "x-crc"], "end 2"],
  ];
  for (const [names, end] of rows)
    for (const [when, go] of [
      [
        "before it is let go",
        ({ stream, held, seen }, trailers) => {
          stream.receiver.end(trailers);
          held.receive(relay(seen));
        },
      ],
      [
        "after it was let go",
        ({ stream, held, seen }, trailers) => {
          held.receive(relay(seen));
          stream.receiver.end(trailers);
        },
      ],
    ] as readonly (readonly [
      string,
      (held: Held, trailers: Fields) => void,
    ])[]) {
      const held = hold();
      held.held.reserve((name) => name.replace("_", "-") === "x-user");
      held.held.reserve((name) => name === "x-role");
      go(
        held,
        names.map((name) => makeField(name, "mallory")),
      );
      t.equal(held.seen.at(-1), end, `${names.join()}, ${when}`);
    }
  const stream = scriptedStream();
  const seen: string[] = [];
  const held = new HeldStream(stream, new Buffers());
  held.reserve((name) => name === "x-user");
  held.receive(relay(seen));
  stream.receiver.data(Buffer.from("one"));
  stream.receiver.drained();
  stream.receiver.end([makeField("x-user", "mallory")]);
  stream.receiver.abort(new MeshError("CLIENT_CLOSED", ""));
  t.same(
    seen,
    ["data one", "drained", "end ", "abort CLIENT_CLOSED"],
    "nor where nothing was waited for",
  );
  t.end();
});

void t.test("fields are edited for the relay and for the caller", (t) => {
  const stream = scriptedStream({}, { "x-user": "mallory", accept: "*/*" });
  const held = new HeldStream(stream, new Buffers());
  held.edit({ ...SET, set: [{ name: "x-user", value: "alice" }] });
  held.edit({ set: [], add: [], remove: new Set(["accept"]) });
  t.same(
    held.head.fields.map(({ name, value }) => [name, value]),
    [["x-user", "alice"]],
  );
  held.editResponse({
    ...SET,
    set: [],
    add: [{ name: "set-cookie", value: "a=1" }],
  });
  held.respond({ status: 200, fields: [], contentLength: undefined }, true);
  t.same(stream.heard, ["respond 200 set-cookie=a=1"]);
  held.receive(relay([]));
  t.ok(stream.receiver, "what is not held goes straight to the relay");
  t.end();
});
