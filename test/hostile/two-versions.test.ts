/** Whatever one version of HTTP refuses, the other refuses, and what both let through arrives as one and the same request (laws 7 and 14). */
import { connect, type Socket } from "node:net";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import {
  ErrorCode,
  Flag,
  FrameType,
  PREFACE,
} from "../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../src/wire/tls/connect.ts";
import { until, type Pair } from "../support/meshes/pair.ts";
import type { RecordingBackend } from "../support/peers/recording-backend.ts";
import {
  block,
  data,
  frame,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../support/http2/raw-peer.ts";
import {
  Peer,
  withBackend,
} from "../support/hostile/grammar-http1-listeners.ts";
import {
  DIFFERENCES,
  ROWS,
  type Message,
} from "../support/hostile/two-versions-rows.ts";

type Version = "http/1.1" | "h2";

interface ListenerUnderTest {
  readonly name: string;
  /** Fields that a request needs to get through. */
  readonly needs: Pairs;
  readonly open: (version: Version) => Promise<Socket>;
}

function listenersOf(pair: Pair): readonly ListenerUnderTest[] {
  const plain = (
    name: string,
    port: number | undefined,
  ): ListenerUnderTest => ({
    name,
    needs: [],
    open: () =>
      Promise.resolve(
        connect({ port: port ?? 0, host: "127.0.0.1", allowHalfOpen: true }),
      ),
  });
  return [
    plain("outbound", pair.caller.ports.outbound),
    plain("published", [...pair.callee.ports.published.values()][0]),
    {
      name: "link",
      needs: [["x-wherry-destination", "orders.shop:80"]],
      open: async (version) =>
        (
          await connectLink({
            address: "127.0.0.1",
            port: pair.callee.ports.link ?? 0,
            expected: pair.authority.id("orders"),
            credentials: pair.authority.credentials("web"),
            alpn: [version],
            timeoutMs: 5000,
            clock: systemClock,
            signal: new AbortController().signal,
          })
        ).socket,
    },
  ];
}

/** A message as octets of HTTP/1.1. */
function inHttp1(message: Message, needs: Pairs): string {
  const { method = "GET", path = "/", authority = "orders.shop" } = message;
  const { host, body = "", trailers, fields = [] } = message;
  const target =
    method === "CONNECT"
      ? authority
      : host === undefined
        ? path
        : `http://${authority}${path}`;
  const lines = [
    ...(message.noAuthority === true ? [] : [["Host", host ?? authority]]),
    ...fields,
    ...needs,
    ...(trailers === undefined ? [] : [["Transfer-Encoding", "chunked"]]),
  ].map(([name = "", value = ""]) => `${name}: ${value}\r\n`);
  const content =
    trailers === undefined
      ? body
      : `${body.length.toString(16)}\r\n${body}\r\n0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  return `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${content}`;
}

/** The same as frames of HTTP/2. */
function inHttp2(message: Message, needs: Pairs): Buffer[] {
  const { method = "GET", path = "/", authority = "orders.shop" } = message;
  const { host, body, trailers, fields = [] } = message;
  const pairs: Pairs = [
    [":method", method],
    ...(method === "CONNECT"
      ? []
      : ([
          [":scheme", "http"],
          [":path", path],
        ] as const)),
    ...(message.noAuthority === true
      ? []
      : ([[":authority", authority]] as const)),
    ...(host === undefined ? [] : ([["host", host]] as const)),
    ...fields,
    ...needs,
  ];
  // Larger than a frame may be: the rest of it in CONTINUATION.
  const fieldBlock = block(pairs);
  const parts = Array.from(
    { length: Math.max(1, Math.ceil(fieldBlock.length / 16_384)) },
    (_, index) => fieldBlock.subarray(index * 16_384, (index + 1) * 16_384),
  );
  const ends = body === undefined ? Flag.END_STREAM : 0;
  const hasTrailers = trailers !== undefined && trailers.length > 0;
  return [
    ...parts.map((part, index) =>
      frame(
        index === 0 ? FrameType.HEADERS : FrameType.CONTINUATION,
        (index === 0 ? ends : 0) |
          (index === parts.length - 1 ? Flag.END_HEADERS : 0),
        1,
        part,
      ),
    ),
    ...(body === undefined ? [] : [data(1, body, !hasTrailers)]),
    ...(hasTrailers ? [headers(1, trailers)] : []),
  ];
}

interface Verdict {
  /** 0: the connection was closed without a word. */
  readonly status: number;
  /** What the application got, without what differs by nature. */
  readonly arrived: string;
}

async function statusIn1(socket: Socket, octets: string): Promise<number> {
  const peer = new Peer(socket);
  peer.send(octets);
  const final = (): string | undefined =>
    /(?:^|\r\n\r\n)HTTP\/1\.1 ([2-5]\d\d) [^]*\r\n\r\n/.exec(
      peer.received,
    )?.[1];
  await until(() => peer.ended || final() !== undefined);
  socket.destroy();
  return Number(final() ?? 0);
}

async function statusIn2(socket: Socket, frames: Buffer[]): Promise<number> {
  const peer = new RawPeer(socket, false);
  let over = false;
  const isOver = (): boolean => over;
  void peer.ended.then(() => (over = true));
  peer.send(PREFACE, settings([1, 0]), SETTINGS_ACK, ...frames);
  try {
    for (;;) {
      for (const frame of peer.frames.splice(0)) {
        if (frame.type === FrameType.HEADERS) {
          const [first = ""] = peer.fields(frame);
          const status = Number(first.replace(":status: ", ""));
          if (status >= 200) return status;
        }
        // RFC 9113 8.1.1: a malformed request is a stream error, where HTTP/1 has a status for it.
        if (frame.type === FrameType.RST_STREAM)
          return frame.payload.readUInt32BE(0) === ErrorCode.PROTOCOL_ERROR
            ? 400
            : 1;
        if (frame.type === FrameType.GOAWAY) return 2;
      }
      if (isOver()) return 0;
      await peer.arrives();
    }
  } finally {
    socket.destroy();
  }
}

async function judge(
  listener: ListenerUnderTest,
  version: Version,
  message: Message,
  backend: RecordingBackend,
): Promise<Verdict> {
  backend.reset();
  const socket = await listener.open(version);
  const status =
    version === "h2"
      ? await statusIn2(socket, inHttp2(message, listener.needs))
      : await statusIn1(socket, inHttp1(message, listener.needs));
  return { status, arrived: backend.octets };
}

void t.test(
  "each message has one verdict at a listener, whatever the version",
  { timeout: 120_000 },
  async (t) => {
    const names = ROWS.map(([what]) => what);
    t.equal(new Set(names).size, names.length, "rows have names of their own");
    for (const name of Object.keys(DIFFERENCES))
      t.ok(names.includes(name), `${name} is a row`);
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair))
        for (const [what, message] of ROWS) {
          const http1 = await judge(listener, "http/1.1", message, backend);
          const http2 = await judge(listener, "h2", message, backend);
          const name = `${listener.name}: ${what}`;
          const allowed = DIFFERENCES[what];
          if (allowed === undefined) t.strictSame(http2, http1, name);
          else
            t.strictSame(
              [http1.status, http2.status],
              [allowed.http1, allowed.http2],
              `${name}: ${allowed.why}`,
            );
        }
    });
  },
);
