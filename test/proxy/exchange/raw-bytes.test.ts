/** Which exchanges would become a pipe, and where they are refused (law 14). */
import t from "tap";
import { refusedPipe } from "../../../src/proxy/exchange/raw-bytes.ts";
import { connectHead } from "../../../src/wire/tcp.ts";

const tunnel = connectHead("orders.shop:80");
const get = { ...tunnel, method: "GET", path: "/" };

void t.test("a tunnel goes to a port for bytes alone", (t) => {
  t.equal(refusedPipe(tunnel, true, "port 80"), undefined);
  const error = refusedPipe(tunnel, false, "port 80");
  t.equal(error?.code, "TUNNEL_REFUSED");
  t.match(error?.message, /^port 80 is declared for HTTP/);
  t.match(
    error?.answer?.fields,
    [["allow", /^GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH$/]],
    "Allow, as RFC 9110 15.5.6 asks",
  );
  t.end();
});

void t.test("no port takes a change of protocol", (t) => {
  for (const head of [
    { ...tunnel, path: "/chat", protocol: "websocket" },
    { ...tunnel, path: "/", protocol: "connect-udp" },
    { ...get, protocol: "websocket" },
  ])
    for (const takesBytes of [true, false])
      t.equal(refusedPipe(head, takesBytes, "port 80")?.code, "UNSUPPORTED");
  t.end();
});

void t.test("a request is a request everywhere", (t) => {
  t.equal(refusedPipe(get, true, "port 80"), undefined);
  t.equal(refusedPipe(get, false, "port 80"), undefined);
  t.end();
});
