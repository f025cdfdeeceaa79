/** Takes spans as a collector of OpenTelemetry does, and counts them; it costs little, since it shares the core of the load. */
import { createServer, type AddressInfo, type Socket } from "node:net";
import { wait, type Clock } from "../src/core/clock.ts";
import { OTLP_PORT } from "./peer.ts";

export interface Collector {
  readonly port: number;
  /** Spans that have arrived. */
  readonly spans: number;
  /** Resolves once no span has come for a while: an exporter sends what it still holds a second after. */
  settled(): Promise<void>;
  close(): void;
}

const ANSWER = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
);
/** Milliseconds. */
const QUIET = 1500;
const PATIENCE = 8000;
const LOOK_EVERY = 100;

export function startCollector(
  clock: Clock,
  port: number = OTLP_PORT,
): Promise<Collector> {
  let spans = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    readRequests(socket, (body) => {
      spans += countSpans(body);
      socket.write(ANSWER);
    });
  });
  const collector: Collector = {
    get port() {
      return (server.address() as AddressInfo).port;
    },
    get spans() {
      return spans;
    },
    async settled() {
      const until = clock.now() + PATIENCE;
      let last = spans;
      let since = clock.now();
      while (clock.now() - since < QUIET && clock.now() < until) {
        await wait(clock, LOOK_EVERY, new AbortController().signal);
        if (spans === last) continue;
        last = spans;
        since = clock.now();
      }
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", 1024, () => resolve(collector));
  });
}

/** HTTP/1.1 as exporters write it: node:http would cost a multiple, and Envoy sends a request for every five spans. */
function readRequests(socket: Socket, take: (body: Buffer) => void): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      const end = held.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = held.toString("latin1", 0, end);
      const length = /^content-length: *(\d+)/im.exec(head)?.[1];
      const body =
        length === undefined
          ? chunkedBody(held, end + 4)
          : plainBody(held, end + 4, Number(length));
      if (body === undefined) return;
      take(body.content);
      held = held.subarray(body.end);
    }
  });
}

interface Body {
  readonly content: Buffer;
  readonly end: number;
}

function plainBody(held: Buffer, at: number, length: number): Body | undefined {
  if (held.length < at + length) return undefined;
  return { content: held.subarray(at, at + length), end: at + length };
}

function chunkedBody(held: Buffer, start: number): Body | undefined {
  const parts: Buffer[] = [];
  let at = start;
  for (;;) {
    const line = held.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(held.toString("latin1", at, line), 16);
    const from = line + 2;
    if (held.length < from + size + 2) return undefined;
    if (size === 0) return { content: Buffer.concat(parts), end: from + 2 };
    parts.push(held.subarray(from, from + size));
    at = from + size + 2;
  }
}

/** ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans: the field's number at each depth. */
const WAY_TO_SPANS = [1, 2, 2];
const LENGTH_DELIMITED = 2;

/** The spans in a message of OTLP in protobuf; what is inside them is skipped. */
export function countSpans(message: Buffer): number {
  return count(message, 0, message.length, 0);
}

function count(
  message: Buffer,
  from: number,
  to: number,
  depth: number,
): number {
  let at = from;
  let found = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80 || at >= to) return value;
    }
  };
  while (at < to) {
    const key = varint();
    // Strings and messages alone stand at these depths.
    if ((key & 7) !== LENGTH_DELIMITED) return found;
    const length = varint();
    if (key >> 3 === WAY_TO_SPANS[depth])
      found +=
        depth === WAY_TO_SPANS.length - 1
          ? 1
          : count(message, at, at + length, depth + 1);
    at += length;
  }
  return found;
}
