/** The server of messages, a process of its own: `node server.ts websocket|grpc|tcp PORT`. It repeats messages; of bytes it sends as many as it is asked for. */
import { createServer, type IncomingMessage } from "node:http";
import {
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createTcpServer, type Socket } from "node:net";
import { acceptOf, KEY } from "../../src/wire/websocket/handshake.ts";
import { Lengths, Frames } from "./messages.ts";

const BULK = Buffer.alloc(256 * 1024, "x");

function webSocket(port: number): void {
  const server = createServer((_request, response) => response.end("hello"));
  server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
    const accept = acceptOf(String(request.headers[KEY]));
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const frames = new Frames((payload) => socket.write(Frames.of(payload)));
    socket.on("data", (chunk: Buffer) => frames.read(chunk));
    socket.on("end", () => socket.end());
  });
  server.listen(port, "127.0.0.1");
}

function grpc(port: number): void {
  const server = createHttp2Server();
  server.on("stream", (stream: ServerHttp2Stream, head) => {
    stream.on("error", () => undefined);
    if (head["content-type"] !== "application/grpc") {
      stream.respond({ ":status": 200 });
      stream.end("hello");
      return;
    }
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "0" }),
    );
    const lengths = new Lengths((message) => stream.write(message));
    stream.on("data", (chunk: Buffer) => lengths.read(chunk));
    stream.on("end", () => stream.end());
  });
  server.listen(port, "127.0.0.1");
}

/** Four bytes say how many are wanted. */
function tcp(port: number): void {
  const server = createTcpServer({ noDelay: true }, (socket) => {
    let asked = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      asked = Buffer.concat([asked, chunk]);
      for (; asked.length >= 4; asked = asked.subarray(4))
        for (let left = asked.readUInt32BE(); left > 0; left -= BULK.length)
          socket.write(left < BULK.length ? BULK.subarray(0, left) : BULK);
    });
  });
  server.listen(port, "127.0.0.1");
}

const [what, port] = process.argv.slice(2);
const SERVERS: Readonly<Record<string, (port: number) => void>> = {
  websocket: webSocket,
  grpc,
  tcp,
};
SERVERS[what ?? ""]?.(Number(port));
