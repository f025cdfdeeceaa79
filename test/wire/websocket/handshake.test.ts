/** What the codecs make of a handshake, and of its response (RFC 6455 4, RFC 8441 5). */
import t from "tap";
import type { RequestHead } from "../../../src/wire/exchange.ts";
import { fieldValue, makeField } from "../../../src/wire/fields.ts";
import { connectHead } from "../../../src/wire/tcp.ts";
import {
  acceptOf,
  answerTo,
  isDialogue,
  keyed,
  keyOf,
  opensDialogue,
  opensExtended,
} from "../../../src/wire/websocket/handshake.ts";
import { ACCEPT, KEY } from "../../support/peers/websocket.ts";

const tunnel = connectHead("orders.shop:80");
const get: RequestHead = { ...tunnel, method: "GET", path: "/chat" };
const chat: RequestHead = { ...get, protocol: "websocket" };

void t.test("Accept is what RFC 6455 1.3 computes", (t) => {
  t.equal(acceptOf(KEY), ACCEPT);
  t.end();
});

void t.test("what opens a dialogue of bytes", (t) => {
  for (const [what, head, opening] of [
    ["an ordinary request", get, []],
    ["CONNECT", tunnel, [200, 204, 299]],
    ["a WebSocket", chat, [101]],
  ] as const) {
    t.equal(isDialogue(head), opening.length > 0, what);
    t.strictSame(
      [101, 103, 200, 204, 299, 300, 403, 502].filter((status) =>
        opensDialogue(head, status),
      ),
      opening,
      what,
    );
  }
  t.end();
});

void t.test("a key is made where there is none", (t) => {
  const key = makeField("sec-websocket-key", KEY);
  const has = { ...chat, fields: [key] };
  t.equal(keyed(has), has);
  const made = [keyOf(keyed(chat)), keyOf(keyed(chat))];
  t.match(made, [/^[A-Za-z0-9+/]{22}==$/, /^[A-Za-z0-9+/]{22}==$/]);
  t.not(made[0], made[1]);
  t.end();
});

void t.test("in HTTP/2 a 2xx opens it, unless it says otherwise", (t) => {
  const link = {
    ...chat,
    fields: [makeField("x-wherry-destination", "orders.shop:80")],
  };
  for (const [caller, status, sent, opens] of [
    [chat, 101, 200, true],
    [link, 101, 200, true],
    [link, 200, 200, false],
    [link, 204, 204, false],
    [chat, 200, 501, false],
    [chat, 403, 403, false],
    [link, 302, 302, false],
    [link, 503, 503, false],
  ] as const) {
    const head = answerTo(caller, {
      status,
      fields: [],
      contentLength: undefined,
    });
    t.equal(head.status, sent);
    t.equal(opensExtended(head), opens, `${status} becomes ${sent}`);
    t.equal(
      fieldValue(head.fields, "x-wherry-upgrade"),
      sent < 300 && status !== 101 ? "ignored" : undefined,
    );
  }
  t.end();
});
