/** What the codec reads, for comparing. */
import type {
  RequestHead,
  ResponseHead,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { connectHttp1 } from "../../../src/wire/http1/client.ts";
import { serveHttp1 } from "../../../src/wire/http1/server.ts";
import { isDialogue } from "../../../src/wire/websocket/handshake.ts";
import { fakeClock } from "../clocks/fake-clock.ts";
import type {
  MemorySocket,
  Message,
  Reading,
} from "./grammar-http1-readings.ts";

/** What each request is answered with. */
const ANSWER = { status: 204, contentLength: undefined, fields: [] };
const REFUSAL = { status: 405, contentLength: 0, fields: [] };
/** An HTTP/1.0 caller gets no 1xx: how the codec tells of the version. */
const EARLY_HINTS = { status: 103, contentLength: undefined, fields: [] };

const INFO = {
  protocol: "http/1.1",
  peer: undefined,
  remoteAddress: "192.0.2.1",
  remotePort: 1,
  localAddress: "127.0.0.1",
  originalDestination: undefined,
} as const;

const clock = fakeClock();
/** The codec's reading of requests, complete when the socket has been finished and a turn has passed. */
export function codecRequests(socket: MemorySocket): () => Reading {
  const messages: Message[] = [];
  const reading: Reading = { messages, refused: undefined };
  const read = (stream: ServerStream): void => {
    const { head } = stream;
    const message: Message = {
      start: `${head.method} ${head.scheme}://${head.authority} ${head.path}`,
      fields: head.fields.map(({ name, value }) => `${name}: ${value}`),
      contentLength: head.contentLength,
      body: "",
      trailers: [],
      complete: false,
      keepAlive: undefined,
      mayClose: false,
      unwatched: false,
    };
    messages.push(message);
    stream.informational(EARLY_HINTS);
    const complete = (): void => {
      message.complete = true;
      stream.respond(head.method === "CONNECT" ? REFUSAL : ANSWER, true);
    };
    stream.receive({
      data: (chunk) => (message.body += chunk.toString("latin1")),
      end(trailers) {
        message.trailers = (trailers ?? []).map(
          ({ name, value }) => `${name}: ${value}`,
        );
        complete();
      },
      abort: () => undefined,
      drained: () => undefined,
    });
    if (stream.ended || isDialogue(head)) complete();
  };
  serveHttp1(
    socket,
    { clock, info: INFO },
    {
      request: read,
      refused: (_code, detail) => (reading.refused = detail),
    },
  );
  return () => {
    const answers = answersIn(socket.sent);
    return {
      refused: reading.refused,
      messages: messages.map((message, index) => ({
        ...message,
        start: `${message.start} HTTP/1.${answers[index]?.hints === true ? 1 : 0}`,
        keepAlive: answers[index]?.keepAlive,
      })),
    };
  };
}

interface AnswerSeen {
  /** An interim response came before it. */
  readonly hints: boolean;
  readonly keepAlive: boolean | undefined;
}

function answersIn(sent: string): AnswerSeen[] {
  const answers: AnswerSeen[] = [];
  let hints = false;
  for (const [head, status] of sent.matchAll(
    /HTTP\/1\.1 ([1-5][0-9]{2}) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n/g,
  )) {
    if (status === "103") hints = true;
    if (status?.startsWith("1") === true) continue;
    answers.push({ hints, keepAlive: !head.includes("\r\nconnection: close") });
    hints = false;
  }
  if (hints) answers.push({ hints, keepAlive: undefined });
  return answers;
}

/** The codec's reading of the answer to one request; after it the turn in which the request goes out. */
export function codecResponse(
  socket: MemorySocket,
  method: string,
): () => Reading {
  const reading: Reading = { messages: [], refused: undefined };
  let message: Message | undefined;
  const begin = (head: ResponseHead): Message => {
    const begun: Message = {
      start: String(head.status),
      fields: head.fields.map(({ name, value }) => `${name}: ${value}`),
      contentLength: head.contentLength,
      body: "",
      trailers: [],
      complete: false,
      keepAlive: undefined,
      mayClose: false,
      unwatched: false,
    };
    reading.messages.push(begun);
    return begun;
  };
  let available = false;
  const connection = connectHttp1(
    socket,
    { clock },
    {
      available: () => (available = true),
      draining: () => undefined,
      closed: () => undefined,
    },
  );
  const head: RequestHead = {
    method,
    scheme: "http",
    authority: "a.shop",
    path: "/",
    protocol: undefined,
    fields: [],
    contentLength: undefined,
    acceptsTrailers: true,
    absoluteForm: false,
  };
  connection.request(head, true, {
    informational: (interim) => {
      begin(interim).complete = true;
    },
    head(final, ended) {
      message = begin(final);
      message.complete = ended;
    },
    data(chunk) {
      if (message !== undefined) message.body += chunk.toString("latin1");
    },
    end(trailers) {
      if (message === undefined) return;
      message.trailers = (trailers ?? []).map(
        ({ name, value }) => `${name}: ${value}`,
      );
      message.complete = true;
    },
    abort(error) {
      reading.refused = error.message;
    },
    drained: () => undefined,
  });
  return () => {
    if (message?.complete === true) message.keepAlive = available;
    return reading;
  };
}
