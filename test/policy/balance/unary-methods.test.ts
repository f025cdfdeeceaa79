/** A method is known to be unary by whole responses of one message, and never again once it has streamed. */
import t from "tap";
import {
  AT_ONCE,
  MOST_METHODS,
  SURE,
  UnaryMethods,
} from "../../../src/policy/balance/unary-methods.ts";

const METHOD = "/shop.Orders/Get";

function message(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xff);
  bytes[0] = 0;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** Responses with these pieces each, that end `ms` after their heads. */
function respond(
  methods: UnaryMethods,
  pieces: readonly Buffer[],
  { count = SURE, ms = 1, method = METHOD } = {},
): void {
  for (let index = 0; index < count; index += 1) {
    const response = methods.response(method, 100);
    for (const piece of pieces) response.received(piece);
    response.ended(100 + ms);
  }
}

const LONG = message(70_000);
const ROWS: readonly (readonly [
  what: string,
  pieces: readonly Buffer[],
  sure: boolean,
  ms?: number,
])[] = [
  ["one message", [message(10)], true],
  ["one without a byte", [message(0)], true],
  ["one in pieces", Array.from(message(7), (byte) => Buffer.of(byte)), true],
  ["a long one", [LONG.subarray(0, 3), LONG.subarray(3)], true],
  ["one whose end is late", [message(10)], false, AT_ONCE + 1],
  ["none", [], false],
  ["half a prefix", [message(10).subarray(0, 3)], false],
  ["half a message", [message(10).subarray(0, 9)], false],
  ["two messages", [message(10), message(10)], false],
  ["two in one piece", [Buffer.concat([message(0), message(0)])], false],
  ["the beginning of a second", [Buffer.from([...message(3), 0])], false],
];

for (const [what, pieces, sure, ms] of ROWS)
  void t.test(what, (t) => {
    const methods = new UnaryMethods();
    respond(methods, pieces, { count: SURE - 1, ...(ms && { ms }) });
    t.notOk(methods.isSure(METHOD), "not by so few");
    respond(methods, pieces, { count: 1, ...(ms && { ms }) });
    t.equal(methods.isSure(METHOD), sure);
    t.notOk(methods.isSure("/shop.Orders/List"), "no other method");
    t.end();
  });

void t.test("one that streamed once is a stream for good", (t) => {
  const methods = new UnaryMethods();
  respond(methods, [message(1)]);
  t.ok(methods.isSure(METHOD));
  const response = methods.response(METHOD, 0);
  t.notOk(response.received(message(1)));
  t.ok(response.received(message(1)), "and says so at once");
  t.notOk(methods.isSure(METHOD));
  respond(methods, [message(1)], { count: 2 * SURE });
  t.notOk(methods.isSure(METHOD));
  t.end();
});

void t.test("the newest methods are kept", (t) => {
  const methods = new UnaryMethods();
  respond(methods, [message(1)]);
  for (let index = 1; index < MOST_METHODS; index += 1)
    respond(methods, [message(1)], { method: `/a/${index}`, count: 1 });
  t.ok(methods.isSure(METHOD));
  respond(methods, [message(1)], { method: "/a/last" });
  t.notOk(methods.isSure(METHOD));
  t.ok(methods.isSure("/a/last"));
  t.end();
});
