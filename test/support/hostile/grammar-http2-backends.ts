/** What stands at both ends of the proxy for the tables of HTTP/2's grammar: callers that speak frame by frame, and applications that write down every octet. */
import { connect, type Socket } from "node:net";
import { systemClock } from "../../../src/core/clock.ts";
import {
  Flag,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import type { Pair } from "../meshes/pair.ts";
import {
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../http2/raw-peer.ts";

/** A listener of the mesh: the application's own, and the link, as a peer with a certificate calls it. */
export type ListenerUnderTest = "outbound" | "link";

/** Comes in at a listener, says the preface and nothing more. */
export async function enter(
  pair: Pair,
  listener: ListenerUnderTest,
): Promise<RawPeer> {
  const socket: Socket =
    listener === "outbound"
      ? connect({ port: pair.caller.ports.outbound ?? 0, host: "127.0.0.1" })
      : (
          await connectLink({
            address: "127.0.0.1",
            port: pair.callee.ports.link ?? 0,
            expected: pair.authority.id("orders"),
            credentials: pair.authority.credentials("web"),
            timeoutMs: 5000,
            clock: systemClock,
            signal: new AbortController().signal,
          })
        ).socket;
  const peer = new RawPeer(socket, false);
  peer.send(PREFACE, settings([1, 0]), SETTINGS_ACK);
  return peer;
}

/** A request to the service `orders` that gets through that listener; pseudo-headers among `more` must be first. */
export function request(
  listener: ListenerUnderTest,
  method: string,
  path: string,
  ...more: Pairs
): Pairs {
  return [
    [":method", method],
    [":scheme", "http"],
    [":authority", "orders.shop"],
    [":path", path],
    ...more,
    ...(listener === "link"
      ? [["x-wherry-destination", "orders.shop:80"] as const]
      : []),
  ];
}

/** An application for `rawApp`, and what it has seen. */
export interface Backend {
  readonly protocol: "http" | "http2";
  readonly app: () => (socket: Socket) => void;
  /** Every message so far, one text each, without what the proxy adds to each; "…" ends one that is not complete. */
  seen(): string[];
  forget(): void;
}

/** Fields that the proxy adds to every request of these tests, which are traced. */
const ADDED = /^(?:traceparent|tracestate|b3|x-b3-[a-z]+|te|connection): /;

function withoutAdded(lines: readonly string[]): string[] {
  return lines.filter((line) => !ADDED.test(line));
}

/** Says 200 to whatever is complete. */
export function http1Backend(): Backend {
  const connections: { text: string; answered: number }[] = [];
  return {
    protocol: "http",
    app: () => (socket) => {
      const connection = { text: "", answered: 0 };
      connections.push(connection);
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        connection.text += chunk.toString("latin1");
        const complete = messagesOf(connection.text).filter(isComplete).length;
        for (; connection.answered < complete; connection.answered++)
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      });
      socket.on("end", () => socket.end());
    },
    seen: () =>
      connections
        .flatMap(({ text }) => messagesOf(text))
        .map((text) => shown(text) + (isComplete(text) ? "" : "…")),
    forget() {
      for (const connection of connections)
        Object.assign(connection, { text: "", answered: 0 });
    },
  };
}

/** Cuts what came on one connection at what looks like a request line: these tests never send one as content. */
function messagesOf(text: string): string[] {
  return text
    .split(/(?=^[A-Z]+ [^ ]+ HTTP\/1\.1\r\n)/m)
    .filter((it) => it !== "");
}

function isComplete(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)\r\n/.exec(text)?.[1];
  if (length !== undefined) return text.length === end + 4 + Number(length);
  return (
    !text.includes("transfer-encoding: chunked") ||
    /\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(text)
  );
}

function shown(text: string): string {
  const end = text.indexOf("\r\n\r\n");
  const head = end < 0 ? text : text.slice(0, end);
  const rest = end < 0 ? "" : text.slice(end + 2);
  return withoutAdded(head.split("\r\n")).join("\r\n") + "\r\n" + rest;
}

/** The same over HTTP/2: a message is its fields, then its content, then its trailers. */
export function http2Backend(): Backend {
  let messages: Message[] = [];
  return {
    protocol: "http2",
    app: () => (socket) => {
      const streams = new Map<number, Message>();
      const peer = new RawPeer(socket, true);
      peer.send(settings([8, 1]), SETTINGS_ACK);
      // The peer's own listener came first and has cut the frames.
      socket.on("data", () => {
        for (const frame of peer.frames.splice(0)) {
          const { type, id, flags, payload } = frame;
          const message = streams.get(id) ?? new Message();
          if (type === FrameType.HEADERS) message.fields(peer.fields(frame));
          else if (type === FrameType.DATA) message.content(payload);
          else if (type === FrameType.RST_STREAM) message.text += "reset";
          else continue;
          if (!streams.has(id)) messages.push(message);
          streams.set(id, message);
          if ((flags & Flag.END_STREAM) === 0 || type > 1) continue;
          message.complete = true;
          peer.send(headers(id, [[":status", "200"]]));
        }
      });
      socket.on("end", () => socket.end());
    },
    seen: () =>
      messages.map(({ text, complete }) => text + (complete ? "" : "…")),
    forget() {
      messages = [];
    },
  };
}

class Message {
  text = "";
  complete = false;

  fields(lines: readonly string[]): void {
    this.text += withoutAdded(lines).join("\n") + "\n";
  }
  content(payload: Buffer): void {
    this.text += payload.toString("latin1");
  }
}
