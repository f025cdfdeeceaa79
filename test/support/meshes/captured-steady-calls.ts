/** The application of a host whose calls are captured, as a program: calls of many sorts that go on while something happens to the sidecars on their way. */

/**
 * Calls of each sort one after the other, until SIGTERM. A name is asked for once and never again: a question that is lost is a failure.
 * Prints how many of each there were, and in the end which failed, and the code with which a WebSocket that stayed open was closed.
 */
export const STEADY_CALLS: string = `
import { once } from "node:events";
import { Agent, get } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Resolver } from "node:dns/promises";
const [address, servers, grpcPort] = process.argv.slice(1);
const agents = { new: new Agent(), kept: new Agent({ keepAlive: true }) };
// A new one for each name: it waits for a second after some quick replies, whatever its own time-out is.
const resolve = (name) => {
  const resolver = new Resolver({ timeout: 30_000, tries: 1 });
  if (servers !== "") resolver.setServers(servers.split(","));
  return resolver.resolve4(name);
};
const failures = {};
const made = {};
let said = 0;
let over = false;
process.once("SIGTERM", () => (over = true));
const http = async (agent) => {
  const [response] = await once(get({ host: address, port: 8080, agent }), "response");
  if (response.statusCode !== 200) throw new Error("status " + response.statusCode);
  await once(response.resume(), "end");
};
const greeting = async (host, port) => {
  const socket = connect(port, host);
  const [first] = await once(socket, "data");
  if (!String(first).startsWith("greeting of callee")) throw new Error("it says " + first);
  socket.resume().end();
  await once(socket, "close");
};
const openWebSocket = async () => {
  const headers = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const request = get({ host: address, port: 8080, headers, agent: agents.new });
  request.on("response", ({ statusCode }) => request.destroy(new Error("status " + statusCode)));
  const [, socket, head] = await once(request, "upgrade");
  socket.on("error", () => {});
  const [first] = head.length > 0 ? [head] : await once(socket, "data");
  if (!String(first).includes("a frame of callee")) throw new Error("it says " + first);
  return socket;
};
const webSocket = await openWebSocket();
let closed = "broken off";
webSocket.on("data", (chunk) => {
  if (chunk[0] !== 0x88) return;
  closed = chunk.readUInt16BE(2);
  webSocket.end(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 3, 0xe9]));
});
const openGrpc = () => connectHttp2("http://" + address + ":" + grpcPort).on("error", () => {});
const empty = async (session) => {
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.testing.TestService/EmptyCall",
    "content-type": "application/grpc",
    te: "trailers",
  });
  let status = "none";
  stream.on("response", (fields) => (status = fields["grpc-status"] ?? status));
  stream.on("trailers", (fields) => (status = fields["grpc-status"] ?? status));
  stream.resume().end(Buffer.alloc(5));
  await once(stream, "close");
  if (status !== "0") throw new Error("status " + status);
};
let kept;
const lasting = connect(9000, address);
lasting.on("error", () => {});
await once(lasting, "data");
const sorts = {
  "HTTP on new connections": () => http(agents.new),
  "HTTP on a kept connection": () => http(agents.kept),
  "bytes on new connections": () => greeting(address, 9000),
  async "bytes on a connection that lasts"() {
    if (lasting.destroyed) throw new Error("closed");
    lasting.write("more ");
    const [echo] = await Promise.race([once(lasting, "data"), once(lasting, "close").then(() => [])]);
    if (String(echo) !== "more ") throw new Error("cut off");
  },
  "WebSockets on new connections": async () => (await openWebSocket()).destroy(),
  ...(grpcPort !== "" && {
    async "gRPC on new connections"() {
      const session = openGrpc();
      await empty(session);
      session.close();
    },
    async "gRPC on a kept connection"() {
      if (kept?.closed !== false) kept = openGrpc();
      await empty(kept);
    },
  }),
  ...(servers !== "" && {
    async names() {
      const [virtual] = await resolve("callee.shop");
      await greeting(virtual, 90);
    },
  }),
};
await Promise.all(Object.entries(sorts).map(async ([sort, run]) => {
  for (made[sort] = 0; !over; made[sort] += 1) {
    await run().catch((error) => {
      const what = sort + ": " + (error.code ?? error.message);
      failures[what] = (failures[what] ?? 0) + 1;
    });
    const least = Math.min(...Object.values(made));
    if (least > said) console.log(JSON.stringify({ rounds: (said = least) }));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}));
lasting.end();
if (!lasting.destroyed) await once(lasting, "close");
if (!webSocket.destroyed) await once(webSocket, "close");
console.log(JSON.stringify({ made, failures, closed }));
process.exit();
`;
