/** Streams of gRPC that stay open: an application that repeats each message, and a caller that knows how its stream has ended. */
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import { framed } from "./raw-grpc.ts";

/** Repeats messages, and ends with status 0 once the caller has ended. */
export function echoApplication(): Http2Server {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined);
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "0" }),
    );
    stream.pipe(stream);
  });
  return server;
}

export class EchoStream {
  /** Bytes that came back. */
  received = 0;
  /** The connection has said GOAWAY. */
  goaway = false;
  /** gRPC's status; "reset" where there was none; undefined while it is open. */
  ended: string | undefined;
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;

  constructor(port: number, authority: string) {
    this.#session = connect(`http://127.0.0.1:${port}`);
    this.#session.on("error", () => undefined);
    this.#session.on("goaway", () => (this.goaway = true));
    this.#stream = this.#session.request({
      ":method": "POST",
      ":path": "/echo.Echo/Talk",
      ":authority": authority,
      "content-type": "application/grpc",
      te: "trailers",
    });
    let status: string | undefined;
    this.#stream.on("trailers", (fields) => {
      status = String(fields["grpc-status"]);
    });
    this.#stream.on("response", (fields) => {
      const trailersOnly = fields["grpc-status"];
      if (trailersOnly !== undefined) status = String(trailersOnly);
    });
    this.#stream.on("data", ({ length }: Buffer) => (this.received += length));
    this.#stream.on("error", () => undefined);
    this.#stream.on("close", () => (this.ended = status ?? "reset"));
  }

  /** Sends a message of which as many bytes come back. */
  send(): number {
    const message = framed(Buffer.from("hello"));
    this.#stream.write(message);
    return message.length;
  }

  end(): void {
    this.#stream.end();
    this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }
}
