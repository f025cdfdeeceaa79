/** For tests: gRPC over one HTTP/2 connection that the test opens itself, down to its local address and port. */
import { once } from "node:events";
import {
  connect as connectHttp2,
  constants,
  type ClientHttp2Session,
} from "node:http2";
import type { TcpNetConnectOpts } from "node:net";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { MethodDefinition } from "@grpc/grpc-js";

export interface Response {
  /** gRPC's status; -1 where the stream or the connection ended without one. */
  readonly code: number;
  readonly message: string;
  /** Of messages, their prefixes included. */
  readonly bytes: number;
}

export type Options = ConnectionOptions & Partial<TcpNetConnectOpts>;

/** A connection to a gRPC server whose certificate is not looked at; `options` may bring a client certificate. */
export async function openConnection(options: Options): Promise<TLSSocket> {
  const socket = connect({
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    ...options,
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

export async function openSession(
  options: Options,
): Promise<ClientHttp2Session> {
  const socket = await openConnection(options);
  const session = connectHttp2("https://control-plane", {
    createConnection: () => socket,
  });
  session.on("error", () => undefined);
  return session;
}

/** One message as it travels. */
export function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Sends one message, and resolves when the response is over; a stream's after its first message. */
export function callOver<Q, S>(
  session: ClientHttp2Session,
  method: MethodDefinition<Q, S>,
  request: Q,
): Promise<Response> {
  return new Promise((resolve) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: method.path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      te: "trailers",
    });
    let code = -1;
    let message = "";
    let bytes = 0;
    const take = (fields: Record<string, unknown>): void => {
      if (fields["grpc-status"] === undefined) return;
      code = Number(fields["grpc-status"]);
      message = decodeURIComponent(text(fields["grpc-message"]));
      // This end is still open.
      if (method.requestStream) stream.close();
    };
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (method.responseStream) stream.close();
    });
    stream.on("error", () => undefined);
    stream.on("close", () => resolve({ code, message, bytes }));
    const body = framed(method.requestSerialize(request));
    if (method.requestStream) stream.write(body);
    else stream.end(body);
  });
}

function text(field: unknown): string {
  return typeof field === "string" ? field : "";
}
