/** The same ways to raw bytes and to a method in another case, by captured connections: packets that a rule redirects, on hosts of their own. */
import t from "tap";
import { eventually } from "../../../support/peers/call.ts";
import { startCapturedMesh } from "../../../support/meshes/captured-mesh.ts";
import { whyNoHosts, type Host } from "../../../support/meshes/hosts.ts";
import { needs } from "../../../support/processes/tools.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import {
  headers,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";

/** Lets strangers in, and nobody delete. */
const POLICIES = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: open, namespace: shop }
spec:
  selector: { matchLabels: { app: callee } }
  mtls: { mode: PERMISSIVE }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callee-callers, namespace: shop }
spec:
  selector: { matchLabels: { app: callee } }
  action: ALLOW
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-deletes, namespace: shop }
spec:
  selector: { matchLabels: { app: callee } }
  action: DENY
  rules: [{ to: [{ operation: { methods: [DELETE] } }] }]
`;

/** On a connection for each message: sends it, and prints what came until the other end, or a second of silence. All in hex. */
const CLIENT = `
const [host, port, ...messages] = process.argv.slice(1);
const say = (hex) => new Promise((resolve) => {
  const socket = require("node:net").connect(Number(port), host);
  let got = Buffer.alloc(0);
  const over = () => { socket.destroy(); resolve(got.toString("hex")); };
  let timer;
  const wait = () => { clearTimeout(timer); timer = setTimeout(over, 1000); };
  socket.on("connect", () => { socket.write(Buffer.from(hex, "hex")); wait(); });
  socket.on("data", (chunk) => { got = Buffer.concat([got, chunk]); wait(); });
  for (const event of ["end", "error", "close"]) socket.on(event, over);
});
Promise.all(messages.map(say)).then((all) => { console.log("got " + all.join(",")); process.exit(); });
`;

async function said(
  from: Host,
  to: string,
  messages: readonly Buffer[],
): Promise<Buffer[]> {
  const { stdout } = await from.run([
    process.execPath,
    ...["-e", CLIENT, to, "8080"],
    ...messages.map((message) => message.toString("hex")),
  ]);
  const got = /got ([0-9a-f,]*)/.exec(stdout)?.[1] ?? "";
  return got.split(",").map((hex) => Buffer.from(hex, "hex"));
}

const SMUGGLED = "DELETE /smuggled HTTP/1.1\r\nhost: callee.shop\r\n\r\n";
const http1 = (head: string): Buffer =>
  Buffer.from(`${head}\r\n\r\n${SMUGGLED}`, "latin1");
const http2 = (pairs: Pairs): Buffer =>
  Buffer.concat([PREFACE, settings([1, 0]), SETTINGS_ACK, headers(1, pairs)]);
const request = (method: string): Pairs => [
  [":method", method],
  [":scheme", "http"],
  [":authority", "callee.shop"],
  [":path", "/orders/1"],
];

/** What is sent, and what must be in what comes back; undefined: the connection just ends. */
const TRICKS: Readonly<Record<string, readonly [Buffer, string?]>> = {
  "CONNECT in HTTP/1": [
    http1("CONNECT callee.shop:80 HTTP/1.1\r\nhost: callee.shop:80"),
    "HTTP/1.1 405 ",
  ],
  "CONNECT in HTTP/2": [
    http2([
      [":method", "CONNECT"],
      [":authority", "callee.shop:80"],
    ]),
    "405",
  ],
  "TLS of its own": [Buffer.from(`\x16\x03\x01\x00\x05hello${SMUGGLED}`)],
  "bytes that are no HTTP": [http1("\0\0\0\0"), "HTTP/1.1 400 "],
  "a WebSocket without a key": [
    http1(
      "GET /chat HTTP/1.1\r\nhost: callee.shop\r\nconnection: upgrade\r\nupgrade: websocket",
    ),
    "HTTP/1.1 400 ",
  ],
  "delete in HTTP/1": [
    Buffer.from("delete /orders/1 HTTP/1.1\r\nhost: callee.shop\r\n\r\n"),
    "HTTP/1.1 501 ",
  ],
  "delete in HTTP/2": [http2(request("delete")), "501"],
  "DELETE in HTTP/2": [http2(request("DELETE")), "403"],
};

const missing = whyNoHosts();

void t.test(
  "captured: no byte that is not parsed and judged reaches the application",
  {
    ...needs(missing === undefined ? [] : [missing]),
    timeout: 120_000,
  },
  async (t) => {
    const mesh = await startCapturedMesh();
    try {
      await mesh.apply(POLICIES);
      const { callee, caller, outside } = mesh;
      const get = Buffer.from(
        "GET /hello HTTP/1.1\r\nhost: callee.shop\r\nx-forwarded-for: 203.0.113.66\r\nconnection: close\r\n\r\n",
      );
      await eventually(
        "the policies have arrived",
        10_000,
        () => said(outside, callee.ipv4, [get]),
        ([answer]) => answer?.includes("HTTP/1.1 200 ") === true,
      );
      const tricks = Object.entries(TRICKS);
      for (const [who, from] of Object.entries({
        stranger: outside,
        peer: caller,
      })) {
        const answers = await said(
          from,
          callee.ipv4,
          tricks.map(([, [message]]) => message),
        );
        for (const [index, [what, [, expected]]] of tricks.entries()) {
          const answer = answers[index] ?? Buffer.alloc(0);
          const name = `${who}: ${what}: ${JSON.stringify(answer.toString("latin1"))}`;
          if (expected === undefined) t.equal(answer.length, 0, name);
          else t.ok(answer.includes(expected), name);
        }
      }
      t.strictSame(
        [...new Set(callee.requests())],
        ["GET /hello"],
        "what the application has seen",
      );
      const seen = callee.application.lines.filter((line) =>
        line.includes("/hello"),
      );
      t.ok(seen.length > 0);
      t.notOk(
        seen.some((line) => line.includes("203.0.113.66")),
        "nor a stranger's word on where it comes from",
      );
      t.ok(
        seen.some((line) =>
          line.includes(`"x-forwarded-for":"${outside.ipv4}"`),
        ),
      );
    } finally {
      await mesh.close();
    }
  },
);
