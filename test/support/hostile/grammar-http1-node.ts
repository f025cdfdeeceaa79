/** What Node's own parser (llhttp, through node:http) reads, for comparing. */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
} from "node:http";
import type { Socket } from "node:net";
import type {
  MemorySocket,
  Message,
  Reading,
} from "./grammar-http1-readings.ts";

const server: Server = createServer({
  insecureHTTPParser: false,
  maxHeaderSize: 256 * 1024,
  keepAliveTimeout: 0,
  requireHostHeader: true,
});
server.maxHeadersCount = 0;
const readings = new WeakMap<object, Reading>();

server.on("request", (request, response) => {
  const message = nodeMessage(request);
  readings.get(request.socket)?.messages.push(message);
  request.on("data", (chunk: Buffer) => {
    message.body += chunk.toString("latin1");
  });
  request.on("end", () => {
    message.trailers = lines(request.rawTrailers);
    message.complete = true;
    message.keepAlive = response.shouldKeepAlive;
    response.statusCode = 204;
    response.sendDate = false;
    response.end();
  });
});
server.on("connect", (request: IncomingMessage, socket: Socket) => {
  const message = nodeMessage(request);
  message.complete = true;
  message.keepAlive = false;
  readings.get(socket)?.messages.push(message);
  socket.destroy();
});
server.on("checkExpectation", (request: IncomingMessage) => {
  refuse(request.socket, "an expectation that it does not know");
});
// The requests before the faulty one are still answered: the connection is left to the end of the case.
server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
  refuse(socket, error.code ?? error.message);
});

function refuse(socket: object, what: string): void {
  const reading = readings.get(socket);
  if (reading !== undefined) reading.refused ??= what;
}

/** Node's reading of requests. */
export function nodeRequests(socket: MemorySocket): () => Reading {
  const reading: Reading = { messages: [], refused: undefined };
  readings.set(socket, reading);
  server.emit("connection", socket);
  return () => {
    // A request without Host is answered by Node itself.
    if (/HTTP\/1\.1 400 /.test(socket.sent))
      reading.refused ??= "HTTP/1.1 without Host";
    return reading;
  };
}

/** Node's reading of the answer to one request. */
export function nodeResponse(
  socket: MemorySocket,
  method: string,
): () => Reading {
  const reading: Reading = { messages: [], refused: undefined };
  let final: { message: Message; incoming: IncomingMessage } | undefined;
  const request = httpRequest({
    method,
    host: "a.shop",
    createConnection: () => socket,
    insecureHTTPParser: false,
    maxHeaderSize: 256 * 1024,
  });
  request.maxHeadersCount = 0;
  // Without an agent it would ask for the end of the connection.
  request.shouldKeepAlive = true;
  request.on("information", (info) => {
    reading.messages.push({
      start: String(info.statusCode),
      ...bodiless(info.statusCode, passedOn(info.rawHeaders)),
      body: "",
      trailers: [],
      complete: true,
      keepAlive: undefined,
      mayClose: false,
      unwatched: false,
    });
  });
  request.on("response", (incoming) => {
    const { rawHeaders, statusCode = 0 } = incoming;
    const message: Message = {
      start: String(statusCode),
      ...bodiless(statusCode, passedOn(rawHeaders)),
      body: "",
      trailers: [],
      complete: false,
      keepAlive: undefined,
      mayClose: true,
      unwatched: false,
    };
    reading.messages.push(message);
    final = { message, incoming };
    incoming.on("data", (chunk: Buffer) => {
      message.body += chunk.toString("latin1");
    });
    incoming.on("error", () => undefined);
  });
  request.on("error", (error: NodeJS.ErrnoException) => {
    reading.refused ??= error.code ?? error.message;
  });
  request.end();
  return () => {
    if (final === undefined) return reading;
    const { message, incoming } = final;
    message.complete = incoming.complete;
    message.trailers = lines(incoming.rawTrailers);
    if (message.complete) message.keepAlive = request.shouldKeepAlive;
    return reading;
  };
}

function nodeMessage(request: IncomingMessage): Message {
  const { method = "", url = "", rawHeaders, httpVersion } = request;
  const upgrade = request.headers.upgrade !== undefined;
  return {
    // RFC 9110 10.1.1: an HTTP/1.0 caller has no expectations.
    start: `${method} ${targetOf(method, url, rawHeaders)} HTTP/${httpVersion}`,
    ...passedOn(rawHeaders, httpVersion === "1.0" ? ["expect"] : []),
    body: "",
    trailers: [],
    complete: false,
    keepAlive: undefined,
    mayClose: httpVersion === "1.0" || upgrade,
    unwatched: upgrade,
  };
}

/** Scheme, authority and path as RFC 9112 3.3 has them. */
function targetOf(method: string, url: string, raw: readonly string[]): string {
  const at = raw.findIndex(
    (name, index) => index % 2 === 0 && name.toLowerCase() === "host",
  );
  const host = at === -1 ? "" : (raw[at + 1] ?? "");
  if (method === "CONNECT") return `http://${canonical(url)} `;
  const [, scheme, authority, path] =
    /^(https?):\/\/([^/?]*)(.*)$/i.exec(url) ?? [];
  if (scheme === undefined) return `http://${canonical(host)} ${url}`;
  const origin =
    path === ""
      ? method === "OPTIONS"
        ? "*"
        : "/"
      : path?.startsWith("?") === true
        ? `/${path}`
        : path;
  return `${scheme.toLowerCase()}://${canonical(authority ?? "")} ${origin}`;
}

/** The one form that the codec gives an authority: no capitals, no final dot, no zeros before the port. */
function canonical(authority: string): string {
  return authority
    .toLowerCase()
    .replace(/\.(?=:|$)/, "")
    .replace(/:0+(?=[0-9])/, ":");
}

/** What is for one connection alone, or frames the message (RFC 9110 7.6.1, RFC 9112 6). */
const NOT_PASSED_ON: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

function passedOn(
  raw: readonly string[],
  more: readonly string[] = [],
): Pick<Message, "fields" | "contentLength"> {
  const all = lines(raw);
  const dropped = new Set([...NOT_PASSED_ON, ...more]);
  for (const line of all)
    if (line.startsWith("connection: "))
      for (const option of line.slice(12).toLowerCase().split(","))
        dropped.add(option.replace(/^[ \t]+|[ \t]+$/g, ""));
  const length = all.find((line) => line.startsWith("content-length: "));
  return {
    fields: all.filter(
      (line) => !dropped.has(line.slice(0, line.indexOf(":"))),
    ),
    contentLength: length === undefined ? undefined : Number(length.slice(16)),
  };
}

/** A Content-Length of 0 where RFC 9110 8.6 allows none says nothing, and is not passed on. */
function bodiless(
  status: number,
  head: Pick<Message, "fields" | "contentLength">,
): Pick<Message, "fields" | "contentLength"> {
  return (status < 200 || status === 204) && head.contentLength === 0
    ? { ...head, contentLength: undefined }
    : head;
}

/** "name: value" of Node's raw list. */
function lines(raw: readonly string[]): string[] {
  const made: string[] = [];
  for (let at = 0; at < raw.length; at += 2)
    made.push(`${(raw[at] ?? "").toLowerCase()}: ${raw[at + 1] ?? ""}`);
  return made;
}
