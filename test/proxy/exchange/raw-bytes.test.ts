/** Which exchanges would become a pipe, and where they are refused (law 14). */
import t from "tap";
import { refusedPipe } from "../../../src/proxy/exchange/raw-bytes.ts";
import type { MeshError } from "../../../src/mesh/errors.ts";
import type { Protocol, RequestHead } from "../../../src/wire/exchange.ts";
import { makeField } from "../../../src/wire/fields.ts";
import { KEY } from "../../support/peers/websocket.ts";
import { connectHead } from "../../../src/wire/tcp.ts";

const tunnel = connectHead("orders.shop:80");
const get = { ...tunnel, method: "GET", path: "/" };
const chat = {
  ...get,
  protocol: "websocket",
  fields: [
    makeField("sec-websocket-key", KEY),
    makeField("sec-websocket-version", "13"),
  ],
};

/** The head's refusal, of a stream that goes on behind it. */
function refusal(
  head: RequestHead,
  takesBytes: boolean,
  more: { ended?: boolean; protocol?: Protocol } = {},
): MeshError | undefined {
  const { ended = false, protocol = "http/1.1" } = more;
  return refusedPipe(
    { head, ended, connection: { protocol } },
    takesBytes,
    "port 80",
  );
}

void t.test("a tunnel goes to a port for bytes alone", (t) => {
  t.equal(refusal(tunnel, true), undefined);
  const error = refusal(tunnel, false);
  t.equal(error?.code, "TUNNEL_REFUSED");
  t.match(error?.message, /^port 80 is declared for HTTP/);
  t.match(
    error?.answer?.fields,
    [["allow", /^GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH$/]],
    "Allow, as RFC 9110 15.5.6 asks",
  );
  t.end();
});

void t.test("no port takes a change of protocol but WebSocket", (t) => {
  for (const takesBytes of [true, false]) {
    t.equal(refusal(chat, takesBytes), undefined);
    for (const protocol of ["connect-udp", "WebSocket", ""])
      t.equal(
        refusal({ ...tunnel, path: "/", protocol }, takesBytes)?.code,
        "UNSUPPORTED",
        protocol,
      );
  }
  t.end();
});

void t.test("a WebSocket begins with its handshake (RFC 6455 4.2.1)", (t) => {
  const [key, version] = chat.fields;
  if (key === undefined || version === undefined) throw new Error("no fields");
  for (const [what, head, more, code] of [
    ["a POST", { ...chat, method: "POST" }, {}, "BAD_REQUEST"],
    ["no key", { ...chat, fields: [version] }, {}, "BAD_REQUEST"],
    [
      "no key, in HTTP/2",
      { ...chat, fields: [version] },
      { protocol: "h2" },
      undefined,
    ],
    [
      "a key twice",
      { ...chat, fields: [key, key, version] },
      {},
      "BAD_REQUEST",
    ],
    [
      "a stream that ended",
      chat,
      { protocol: "h2", ended: true },
      "BAD_REQUEST",
    ],
    ["no version", { ...chat, fields: [key] }, {}, "UNSUPPORTED"],
    [
      "two versions",
      { ...chat, fields: [key, version, version] },
      {},
      "UNSUPPORTED",
    ],
  ] as const)
    t.equal(refusal(head, false, more)?.code, code, what);
  t.match(refusal({ ...chat, fields: [key] }, false)?.answer, {
    status: 426,
    fields: [["sec-websocket-version", "13"]],
  });
  t.end();
});

void t.test("a request is a request everywhere", (t) => {
  t.equal(refusal(get, true), undefined);
  t.equal(refusal(get, false), undefined);
  t.end();
});
