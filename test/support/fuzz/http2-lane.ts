/** One connection of HTTP/2 at a listener: many requests at once, each a stream. */
import type { Socket } from "node:net";
import {
  Flag,
  FRAME_HEADER,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { Decoder } from "../../../src/wire/http2/hpack/decoder.ts";
import { settings, SETTINGS_ACK, windowUpdate } from "../http2/raw-peer.ts";
import type { ListenerUnderTest } from "./listeners.ts";
import {
  codeOf,
  type AppUnderFuzz,
  type Job,
  type Outcome,
} from "./outcome.ts";
import { fieldList, frameOf, renderHttp2 } from "./requests/render-http2.ts";
import { TURNS } from "./pulse.ts";
import { caseId, type Pair } from "./requests/request.ts";

const STREAMS = 48;
const DECODER_LIMITS = {
  headerListBytes: 1e6,
  headerFields: 1000,
  headerTableBytes: 4096,
};
/** Requests on a connection until the next; resets that it provokes count many times. */
const REQUESTS = 3000;
const RESET = 20;
const CODES: Readonly<Record<number, string>> = {
  1: "BAD_REQUEST",
  7: "STREAM_REFUSED",
  11: "HEADERS_TOO_LARGE",
};

interface Stream {
  readonly job: Job;
  readonly began: number;
  status: number;
  reason: string | undefined;
  body: string;
  fields: readonly Pair[];
  trailers: readonly string[];
}

export class Http2Lane {
  readonly listener: ListenerUnderTest;
  readonly #app: AppUnderFuzz;
  readonly #onFree: () => void;
  readonly #streams = new Map<number, Stream>();
  #socket: Socket | undefined;
  #decoder = new Decoder(DECODER_LIMITS);
  #bytes: Buffer = Buffer.alloc(0);
  #next = 1;
  #spent = 0;
  #alone = false;
  #begun: { readonly flags: number; block: Buffer } | undefined;
  /** Written in one piece at the end of the turn. */
  #output: Buffer[] = [];

  constructor(
    listener: ListenerUnderTest,
    app: AppUnderFuzz,
    onFree: () => void,
  ) {
    this.listener = listener;
    this.#app = app;
    this.#onFree = onFree;
  }

  get room(): boolean {
    if (this.#streams.size === 0) return true;
    return (
      !this.#alone && this.#spent < REQUESTS && this.#streams.size < STREAMS
    );
  }

  get idle(): boolean {
    return this.#streams.size === 0;
  }

  run(job: Job, turn: number): void {
    if (this.#streams.size === 0 && (job.alone || this.#spent >= REQUESTS))
      this.close();
    this.#alone = job.alone;
    this.#socket ??= this.#open();
    const { request } = job;
    const id = this.#next;
    this.#next += 2;
    this.#spent += 1;
    this.#streams.set(id, {
      job,
      began: turn,
      status: 0,
      reason: undefined,
      body: "",
      fields: [],
      trailers: [],
    });
    const pairs = fieldList(
      request,
      caseId(request.index, this.listener.name, job.attempt),
      this.listener.more,
    );
    this.#send(renderHttp2(request, pairs, id));
  }

  sweep(turn: number): void {
    const before = this.#streams.size;
    for (const [id, stream] of this.#streams)
      if (turn - stream.began > 2 * TURNS) {
        this.#send(
          frameOf(FrameType.RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])),
        );
        this.#settle(id, stream, "unfinished", 0, "");
      }
    // What waits for this room may be the last of all: nothing else would wake it.
    if (this.#streams.size < before) this.#onFree();
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.removeAllListeners("data");
    socket?.destroy();
  }

  #open(): Socket {
    const socket = this.listener.open();
    this.#decoder = new Decoder(DECODER_LIMITS);
    this.#bytes = Buffer.alloc(0);
    this.#begun = undefined;
    this.#next = 1;
    this.#spent = 0;
    this.#output = [
      PREFACE,
      settings([4, 1 << 20]),
      SETTINGS_ACK,
      windowUpdate(0, 1 << 30),
    ];
    const ended = (): void => {
      if (this.#socket === socket) this.#ended("the connection ended");
    };
    socket.on("error", ended);
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("data", (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      this.#bytes =
        this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      this.#cut();
      this.#onFree();
    });
    return socket;
  }

  #send(bytes: Buffer): void {
    this.#output.push(bytes);
    if (this.#output.length === 1 || this.#spent === 1)
      process.nextTick(() => this.#flush());
  }

  #flush(): void {
    if (this.#output.length === 0) return;
    this.#socket?.write(Buffer.concat(this.#output));
    this.#output = [];
  }

  #cut(): void {
    const bytes = this.#bytes;
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER) {
      const end = at + FRAME_HEADER + bytes.readUIntBE(at, 3);
      if (bytes.length < end) break;
      this.#gathered(
        bytes[at + 3] ?? 0,
        bytes[at + 4] ?? 0,
        bytes.readUInt32BE(at + 5),
        bytes.subarray(at + FRAME_HEADER, end),
      );
      if (this.#socket === undefined) return;
      at = end;
    }
    this.#bytes = bytes.subarray(at);
  }

  /** A field block in several frames counts as one frame. */
  #gathered(type: number, flags: number, id: number, payload: Buffer): void {
    const whole = (flags & Flag.END_HEADERS) !== 0;
    if (type === FrameType.HEADERS && !whole)
      this.#begun = { flags, block: Buffer.from(payload) };
    else if (type === FrameType.CONTINUATION && this.#begun !== undefined) {
      const begun = this.#begun;
      begun.block = Buffer.concat([begun.block, payload]);
      if (!whole) return;
      this.#begun = undefined;
      this.#frame(FrameType.HEADERS, begun.flags, id, begun.block);
    } else this.#frame(type, flags, id, payload);
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === FrameType.PING && (flags & Flag.ACK) === 0) {
      this.#send(frameOf(FrameType.PING, Flag.ACK, 0, Buffer.from(payload)));
      return;
    }
    if (type === FrameType.GOAWAY) {
      const code = payload.readUInt32BE(4);
      if (code !== 0)
        this.#ended(`GOAWAY ${code} ${payload.toString("latin1", 8)}`, code);
      else this.#spent = REQUESTS;
      return;
    }
    if (type === FrameType.HEADERS)
      this.#decoder.decode(payload, 0, payload.length);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    switch (type) {
      case FrameType.HEADERS: {
        const pairs = this.#decoder.fields.map(({ name, value }): Pair => [
          name,
          value,
        ]);
        if (stream.status < 200) {
          stream.fields = pairs.slice(1);
          stream.status = Number(pairs[0]?.[1]);
          stream.reason = pairs.find(
            ([name]) => name === "x-wherry-reason",
          )?.[1];
        } else
          stream.trailers = pairs.map(([name, value]) => `${name}: ${value}`);
        if (
          stream.job.request.method === "CONNECT" &&
          stream.status < 300 &&
          stream.status >= 200
        ) {
          this.#send(
            frameOf(FrameType.RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])),
          );
          this.#settle(id, stream, "tunnel", stream.status, "");
          return;
        }
        break;
      }
      case FrameType.DATA:
        stream.body += payload.toString("latin1");
        break;
      case FrameType.RST_STREAM: {
        this.#spent += RESET;
        const code = payload.readUInt32BE(0);
        this.#settle(
          id,
          stream,
          "refused",
          400,
          CODES[code] ?? `RESET ${code}`,
        );
        return;
      }
      default:
        return;
    }
    if ((flags & Flag.END_STREAM) === 0) return;
    const code = codeOf(stream.reason, stream.body);
    if (stream.status >= 300) this.#spent += RESET;
    this.#settle(
      id,
      stream,
      stream.status < 300 ? "allowed" : "refused",
      stream.status,
      code,
    );
  }

  /** Whose fault it was nobody knows but where one was alone; the others come again, each alone. */
  #ended(why: string, code = 0): void {
    const { listener } = this;
    const streams = [...this.#streams];
    // What comes again may begin on the next connection at once, by the same numbers.
    this.#streams.clear();
    this.close();
    for (const [id, stream] of streams) {
      if (stream.job.alone)
        this.#settle(id, stream, "refused", 400, CODES[code] ?? why);
      else {
        this.#app.take(idOf(stream.job, listener));
        stream.job.again();
      }
    }
    this.#onFree();
  }

  #settle(
    id: number,
    stream: Stream,
    kind: Outcome["kind"],
    status: number,
    code: string,
  ): void {
    if (this.#streams.get(id) === stream) this.#streams.delete(id);
    const { job, status: said, fields, body, trailers } = stream;
    const arrived = this.#app.take(idOf(job, this.listener));
    // A reset in the midst of a response is none.
    const complete = kind !== "unfinished" && said === status;
    const received =
      said < 200 ? undefined : { fields, body, trailers, complete };
    job.done({ kind, status, code, arrived, flaw: undefined, received });
  }
}

function idOf({ request, attempt }: Job, listener: ListenerUnderTest): string {
  return caseId(request.index, listener.name, attempt);
}
