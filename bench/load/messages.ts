/** Load of messages: on each of some connections or streams one after the other, each when the answer to the last is there. */
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect } from "node:net";
import type { Clock } from "../../src/core/clock.ts";
import { messageOf, UserError } from "../../src/core/errors.ts";
import { Frames, Lengths } from "../echo/messages.ts";
import { HOST, OUTBOUND_PORT } from "../peer.ts";
import type { LoadResult } from "./tool.ts";

const LOOPBACK = "127.0.0.1";
const HANDSHAKE = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;

/** One conversation: `ask` sends the next message, `end` hangs up. */
export interface Talk {
  ask(): void;
  end(): void;
}

/** Opens a conversation; `onAnswer` is called for each whole answer, `onEnd` where it ends by itself. */
export type Talker = (
  onAnswer: () => void,
  onEnd: (why: string) => void,
) => Promise<Talk>;

export interface MessageLoad {
  readonly seconds: number;
  readonly talks: number;
  readonly clock: Clock;
}

/** A closed loop over all of them. */
export async function exchange(
  open: Talker,
  { seconds, talks, clock }: MessageLoad,
): Promise<LoadResult> {
  const took: number[] = [];
  const faults: string[] = [];
  let over = false;
  let running: Talk[];
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  try {
    running = await Promise.all(
      Array.from({ length: talks }, async () => {
        let asked = 0;
        const talk = await open(
          () => {
            const now = clock.now();
            took.push(now - asked);
            asked = now;
            if (!over) talk.ask();
          },
          (why) => {
            if (over) return;
            faults.push(why);
            finish();
          },
        );
        return {
          ...talk,
          ask: () => {
            asked = clock.now();
            talk.ask();
          },
        };
      }),
    );
  } catch (error) {
    throw new UserError(`a conversation does not open: ${messageOf(error)}`);
  }
  const cancel = clock.after(seconds * 1000, () => finish());
  for (const talk of running) talk.ask();
  await finished;
  over = true;
  cancel();
  for (const talk of running) talk.end();
  return { ...latencies(took), ...failed(faults) };
}

function failed(faults: readonly string[]): Pick<LoadResult, "errors"> {
  return {
    errors: faults.length,
    ...(faults.length === 0 ? {} : { kinds: faults.slice(0, 3).join(", ") }),
  };
}

export function latencies(took: readonly number[]): Omit<LoadResult, "errors"> {
  const sorted = Float64Array.from(took).sort();
  const percentile = (part: number): number =>
    sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN;
  return {
    requests: sorted.length,
    p50: percentile(0.5),
    p99: percentile(0.99),
    p999: percentile(0.999),
  };
}

/** WebSockets with messages of so many bytes. */
export function webSocketTalker(bytes: number): Talker {
  const message = Frames.masked(Buffer.alloc(bytes, "x"));
  return (onAnswer, onEnd) =>
    new Promise((resolve, reject) => {
      const socket = connect(OUTBOUND_PORT, LOOPBACK, () =>
        socket.write(HANDSHAKE),
      );
      const frames = new Frames(onAnswer);
      let head = "";
      const onHead = (chunk: Buffer): void => {
        head += chunk.toString("latin1");
        if (!head.includes("\r\n\r\n")) return;
        socket.off("data", onHead);
        if (!head.startsWith("HTTP/1.1 101 ")) {
          reject(new Error(head.split("\r\n")[0]));
          return;
        }
        socket.on("data", (data: Buffer) => frames.read(data));
        resolve({
          ask: () => void socket.write(message),
          end: () => socket.destroy(),
        });
      };
      socket.setNoDelay(true);
      socket.on("data", onHead);
      socket.on("error", reject);
      socket.on("close", () => onEnd("a WebSocket was closed"));
    });
}

/** Streams of gRPC with messages of so many bytes, `streams` on a connection; and what closes the connections. */
export function grpcTalker(
  bytes: number,
  streams: number,
): { readonly open: Talker; close(): void } {
  const message = Lengths.of(Buffer.alloc(bytes, "x"));
  const sessions: ClientHttp2Session[] = [];
  let opened = 0;
  const session = (): ClientHttp2Session => {
    const last = sessions.at(-1);
    if (last !== undefined && opened++ % streams !== 0) return last;
    const next = connectHttp2(`http://${LOOPBACK}:${OUTBOUND_PORT}`);
    opened = 1;
    next.on("error", () => undefined);
    sessions.push(next);
    return next;
  };
  return {
    open: (onAnswer, onEnd) =>
      new Promise((resolve, reject) => {
        const stream = session().request(
          {
            ":method": "POST",
            ":path": "/bench.Echo/Talk",
            ":authority": HOST,
            "content-type": "application/grpc",
            te: "trailers",
          },
          { endStream: false },
        );
        const lengths = new Lengths(onAnswer);
        stream.on("data", (chunk: Buffer) => lengths.read(chunk));
        stream.on("error", reject);
        stream.on("response", (head) => {
          if (head[":status"] !== 200)
            reject(new Error(`status ${String(head[":status"])}`));
          resolve({
            ask: () => void stream.write(message),
            end: () => stream.close(),
          });
        });
        stream.on("close", () => onEnd("a stream was closed"));
      }),
    close: () => {
      for (const each of sessions) each.destroy();
    },
  };
}

/** Connections that ask for so many bytes again and again. */
export function bytesTalker(bytes: number): Talker {
  const request = Buffer.alloc(4);
  request.writeUInt32BE(bytes);
  return (onAnswer, onEnd) =>
    new Promise((resolve, reject) => {
      let got = 0;
      const socket = connect(OUTBOUND_PORT, LOOPBACK, () =>
        resolve({
          ask: () => void socket.write(request),
          end: () => socket.destroy(),
        }),
      );
      socket.setNoDelay(true);
      socket.on("data", (chunk: Buffer) => {
        got += chunk.length;
        if (got < bytes) return;
        got -= bytes;
        onAnswer();
      });
      socket.on("error", reject);
      socket.on("close", () => onEnd("a connection was closed"));
    });
}
