/** One connection of HTTP/1 at a listener, used again as long as the sidecar lets it: sends a request, and behind an odd one another that must not suffer from it. */
import type { Socket } from "node:net";
import type { ListenerUnderTest } from "./listeners.ts";
import {
  codeOf,
  type AppUnderFuzz,
  type Job,
  type Outcome,
  type Received,
} from "./outcome.ts";
import { CASE_FIELD, readChunks } from "./applications/recording-app.ts";
import { renderHttp1 } from "./requests/render-http1.ts";
import { TURNS } from "./pulse.ts";
import { caseId } from "./requests/request.ts";

interface Response {
  readonly status: number;
  readonly code: string;
  /** The sidecar ends the connection behind it. */
  readonly closes: boolean;
  readonly head: string;
  readonly body: string;
  readonly trailers: readonly string[];
}

export class Http1Lane {
  readonly listener: ListenerUnderTest;
  readonly #app: AppUnderFuzz;
  readonly #onFree: () => void;
  #socket: Socket | undefined;
  #text = "";
  #responses: Response[] = [];
  #job: Job | undefined;
  #methods: string[] = [];
  #marked = false;
  #began = 0;
  #finished = false;

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
    return this.#job === undefined;
  }

  get idle(): boolean {
    return this.room;
  }

  run(job: Job, turn: number): void {
    if (job.alone) this.close();
    const { request } = job;
    const { listener } = this;
    const { text, method } = renderHttp1(
      request,
      caseId(request.index, listener.name, job.attempt),
      listener.more,
    );
    this.#job = job;
    this.#began = turn;
    this.#text = "";
    this.#responses = [];
    this.#finished = request.http1.unfinished;
    this.#marked = request.notes.length > 0 && !this.#finished;
    this.#methods = [method, "GET"];
    const socket = (this.#socket ??= this.#open());
    socket.write(this.#marked ? text + this.#marker(job) : text, "latin1");
    if (this.#finished) socket.end();
  }

  /** Ends the caller's side where nothing more can come: both sides have had so many turns of their event loops. */
  sweep(turn: number): void {
    if (this.#job === undefined) return;
    const waited = turn - this.#began;
    if (waited > 2 * TURNS) this.#ended();
    else if (waited > TURNS && !this.#finished) {
      this.#finished = true;
      this.#socket?.end();
    }
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.removeAllListeners("data");
    socket?.destroy();
  }

  #marker(job: Job): string {
    const more = this.listener.more.map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    return `GET /marker HTTP/1.1\r\nhost: orders.shop\r\n${more.join("")}${CASE_FIELD}: ${this.#markerId(job)}\r\n\r\n`;
  }

  #markerId({ request, attempt }: Job): string {
    return caseId(request.index, `${this.listener.name.slice(0, 2)}m`, attempt);
  }

  #open(): Socket {
    const socket = this.listener.open();
    const ended = (): void => {
      if (this.#socket === socket) this.#ended();
    };
    socket.on("error", ended);
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("data", (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      this.#text += chunk.toString("latin1");
      this.#read();
    });
    return socket;
  }

  #read(): void {
    while (this.#text !== "") {
      const method = this.#methods[this.#responses.length] ?? "GET";
      const found = readResponse(this.#text, method, false);
      if (found === undefined) break;
      this.#text = this.#text.slice(found.end);
      if (found.status >= 200) this.#responses.push(found);
      if (method === "CONNECT" && found.status < 300 && found.status >= 200) {
        this.#settle();
        return;
      }
    }
    const enough = this.#responses.length >= (this.#marked ? 2 : 1);
    if (enough && !this.#finished) this.#settle();
  }

  /** The connection is over. */
  #ended(): void {
    const method = this.#methods[this.#responses.length] ?? "GET";
    const last = readResponse(this.#text, method, true);
    if (last !== undefined && last.status >= 200) {
      this.#text = this.#text.slice(last.end);
      this.#responses.push(last);
    }
    this.close();
    if (this.#job !== undefined) this.#settle();
  }

  #settle(): void {
    const job = this.#job;
    if (job === undefined) return;
    this.#job = undefined;
    const outcome = this.#outcome(job);
    if (
      this.#responses.length < (this.#marked ? 2 : 1) ||
      this.#responses.some(({ closes }) => closes) ||
      outcome.kind === "tunnel"
    )
      this.close();
    job.done(outcome);
    this.#onFree();
  }

  #outcome(job: Job): Outcome {
    const { request, attempt } = job;
    const arrived = this.#app.take(
      caseId(request.index, this.listener.name, attempt),
    );
    const markers = this.#app.take(this.#markerId(job));
    const [first, second] = this.#responses;
    let flaw: string | undefined;
    if (this.#text !== "" && first !== undefined)
      flaw = `bytes behind the last response: ${JSON.stringify(this.#text.slice(0, 200))}`;
    else if (
      markers.length > 1 ||
      markers.some(
        ({ canonical }) =>
          !canonical.startsWith("GET /marker\nhost: orders.shop\n\n\n"),
      )
    )
      flaw = `the next request came to the application as ${JSON.stringify(markers[0]?.canonical)}`;
    else if (markers.length === 1 && second?.status !== 200)
      flaw = `the next request came to the application, and its response was ${second?.status ?? "none"}`;
    else if (
      markers.length === 0 &&
      second !== undefined &&
      second.status < 400
    )
      flaw = `two responses to one request: the second was ${second.status} ${second.code}`;
    const tunnel = request.method === "CONNECT" && (first?.status ?? 500) < 300;
    if (tunnel) return { kind: "tunnel", status: 200, code: "", arrived, flaw };
    if (first === undefined)
      return {
        kind: "refused",
        status: 400,
        code: "BAD_REQUEST",
        arrived,
        flaw,
      };
    return {
      kind: first.status < 300 ? "allowed" : "refused",
      status: first.status,
      code: first.code,
      arrived,
      flaw,
      received: receivedOf(first),
    };
  }
}

function receivedOf({ head, body, trailers }: Response): Received {
  const lines = head.split("\r\n").slice(1, -1);
  return {
    fields: lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    }),
    body,
    trailers,
    complete: true,
  };
}

interface ReadResponse extends Response {
  readonly end: number;
}

/** A response as the sidecar writes it; undefined where it has not come to its end. `ended`: the connection is over. */
function readResponse(
  text: string,
  method: string,
  ended: boolean,
): ReadResponse | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return undefined;
  const head = text.slice(0, headEnd + 2);
  const status = Number(head.slice(9, 12));
  const field = (name: string): string | undefined =>
    new RegExp(`\r\n${name}: ?([^\r]*)\r\n`).exec(head)?.[1];
  const start = headEnd + 4;
  let end = start;
  let body = "";
  const trailers: string[] = [];
  // The codec refuses what it could not read, the method neither, and closes.
  const unread = status >= 400 && /\r\nconnection: ?close\r\n/i.test(head);
  const bare =
    (method === "HEAD" && !(unread && text.length > start)) ||
    status < 200 ||
    status === 204 ||
    status === 304 ||
    (method === "CONNECT" && status < 300);
  if (!bare) {
    const length = field("content-length");
    if (length !== undefined) {
      end = start + Number(length);
      if (text.length < end) return undefined;
      body = text.slice(start, end);
    } else if (field("transfer-encoding") !== undefined) {
      const read = readChunks(text, start, trailers);
      if (read === undefined) return undefined;
      if (typeof read === "string")
        throw new Error(`the sidecar's response: ${read}`);
      ({ end, body } = read);
    } else {
      if (!ended) return undefined;
      end = text.length;
      body = text.slice(start);
    }
  }
  const closes = /\r\nconnection: ?close\r\n/i.test(head);
  const code = codeOf(field("x-wherry-reason"), body);
  return { status, closes, code, end, head, body, trailers };
}
