/** Through whole sidecars whose clock the test moves: bodies that trickle and responses that nobody takes are cut off; dialogues, and waits that are not the caller's fault, are not. */
import { connect, type Socket } from "node:net";
import type { IncomingMessage, ServerResponse } from "node:http";
import t from "tap";
import { nextTurn } from "../../../../src/core/slices.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import {
  data,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
} from "../../../support/http2/raw-peer.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import {
  resource,
  withPair,
  type PairOptions,
} from "../../../support/meshes/pair.ts";

const PERMISSIVE = resource("PeerAuthentication", "open", {
  selector: { matchLabels: { app: "orders" } },
  mtls: { mode: "PERMISSIVE" },
});
/** Octets that no buffers between here and the application hold. */
const MUCH = 64 * 1024 * 1024;

interface Story {
  readonly name: string;
  readonly listener?: "outbound";
  readonly options?: Partial<PairOptions>;
  readonly head: string | Buffer;
  /** The caller takes nothing of its answer. */
  readonly deaf?: true;
  /** What the caller does in each of the seconds. */
  readonly each?: (socket: Socket, second: number) => void;
  readonly seconds: number;
  readonly reason: string | undefined;
}

type App = (request: IncomingMessage, response: ServerResponse) => void;
const app = (run: App): Partial<PairOptions> => ({ app: () => run });
const raw = (run: (socket: Socket) => void): Partial<PairOptions> => ({
  rawApp: () => (socket) => {
    socket.on("error", () => undefined);
    run(socket);
  },
});
const trickle = (socket: Socket): void => void socket.write("x");
const post = (path: string, more = ""): string =>
  `POST ${path} HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 100000000\r\n${more}\r\n`;
const GET = "GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n";
const GRPC = Buffer.concat([
  PREFACE,
  settings(),
  SETTINGS_ACK,
  headers(
    1,
    [
      [":method", "POST"],
      [":scheme", "http"],
      [":authority", "orders.shop"],
      [":path", "/shop.Cart/Add"],
      ["content-type", "application/grpc"],
    ],
    false,
  ),
]);
const silent: App = () => undefined;
/** Pieces of `large` that the answer of the story has taken. */
let pieces = 0;
const large: App = (_request, response) => {
  const piece = Buffer.alloc(64 * 1024);
  let left = MUCH / piece.length;
  const more = (): void => {
    while (left > 0) {
      left -= 1;
      pieces += 1;
      if (!response.write(piece)) return void response.once("drain", more);
    }
    response.end();
  };
  more();
};

const STORIES: readonly Story[] = [
  {
    name: "a stranger's body that trickles",
    options: app((request) => void request.resume()),
    head: post("/"),
    each: trickle,
    seconds: 20,
    reason: "REQUEST_STALLED",
  },
  {
    name: "a stranger's body at 300 octets a second",
    options: app((request) => void request.resume()),
    head: post("/"),
    each: (socket) => void socket.write("x".repeat(300)),
    seconds: 60,
    reason: undefined,
  },
  {
    name: "what says that it is gRPC, in HTTP/1.1",
    options: app((request) => void request.resume()),
    head: post("/shop.Cart/Add", "Content-Type: application/grpc\r\n"),
    each: trickle,
    seconds: 20,
    reason: "REQUEST_STALLED",
  },
  {
    name: "a gRPC stream that says little",
    options: {
      appProtocol: "grpc",
      ...raw((socket) => {
        new RawPeer(socket, true).send(settings(), SETTINGS_ACK);
      }),
    },
    head: GRPC,
    each: (socket) => void socket.write(data(1, "x")),
    seconds: 60,
    reason: undefined,
  },
  {
    name: "one that goes to an application in HTTP/1.1, which has no dialogues",
    options: app((request) => void request.resume()),
    head: GRPC,
    each: (socket) => void socket.write(data(1, "x")),
    seconds: 20,
    reason: "REQUEST_STALLED",
  },
  {
    name: "a body that goes on while it is answered: a dialogue",
    options: app((request, response) => {
      request.resume();
      response.write("listening\n");
    }),
    head: post("/"),
    each: trickle,
    seconds: 60,
    reason: undefined,
  },
  {
    name: "a body that the application does not take",
    options: raw((socket) => void socket.pause()),
    head: post("/"),
    each: (socket, second) => {
      if (second === 1) socket.write(Buffer.alloc(MUCH));
    },
    seconds: 60,
    reason: undefined,
  },
  {
    name: "a body of the own application that trickles, where the called sidecar allows it",
    listener: "outbound",
    options: {
      ...app((request) => void request.resume()),
      callee: { limits: { bodyRate: 0 } },
    },
    head: post("/"),
    each: trickle,
    seconds: 60,
    reason: undefined,
  },
  {
    name: "a peer's body that trickles",
    listener: "outbound",
    options: app((request) => void request.resume()),
    head: post("/"),
    each: trickle,
    seconds: 20,
    reason: "REQUEST_STALLED",
  },
  {
    name: "a long poll",
    options: app(silent),
    head: GET,
    seconds: 120,
    reason: undefined,
  },
  {
    name: "an event stream that is silent",
    options: app((_request, response) => {
      response.setHeader("content-type", "text/event-stream");
      response.write(": hello\n\n");
    }),
    head: GET,
    seconds: 600,
    reason: undefined,
  },
  {
    name: "a tunnel in which nobody says a word",
    head: "CONNECT orders.shop:80 HTTP/1.1\r\nHost: orders.shop:80\r\n\r\n",
    options: {
      ...raw((socket) => void socket.resume()),
      appProtocol: "tcp",
    },
    each: (socket, second) => {
      if (second % 60 === 0) trickle(socket);
    },
    seconds: 240,
    reason: undefined,
  },
  {
    name: "an answer that a stranger does not take",
    options: app(large),
    head: GET,
    deaf: true,
    seconds: 70,
    reason: "RESPONSE_STALLED",
  },
  {
    name: "an answer that the own application does not take",
    listener: "outbound",
    options: app(large),
    head: GET,
    deaf: true,
    seconds: 120,
    reason: undefined,
  },
  {
    name: "the same while memory is short",
    listener: "outbound",
    options: { ...app(large), caller: { limits: { bufferedBytes: 200_000 } } },
    head: GET,
    deaf: true,
    seconds: 10,
    reason: "OVERLOADED",
  },
];

/** Turns for what is on its way through both sidecars and the kernel, such as a PING on the link and its acknowledgement, however long they take. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await nextTurn();
}

/** Until an answer that nobody takes fills all that is between: before, it moves, however slow the machine is. */
async function full(): Promise<void> {
  let seen = 0;
  for (let still = 0; still < 20; seen = pieces) {
    await settle();
    still = pieces > 0 && pieces === seen ? still + 1 : 0;
  }
}

for (const story of STORIES)
  void t.test(
    `${story.name}: ${story.reason ?? "goes on"}, in ${story.seconds} s`,
    async (t) => {
      const { listener, options, each, seconds, reason } = story;
      // OpenSSL and the certificates go by the real time of day.
      const clock = fakeClock({ wall: Date.now() });
      pieces = 0;
      await withPair(
        { calleePublish: true, resources: [PERMISSIVE], clock, ...options },
        async (pair) => {
          const published = [...pair.callee.ports.published.values()][0];
          const socket = connect(
            (listener === "outbound"
              ? pair.caller.ports.outbound
              : published) ?? 0,
            "127.0.0.1",
          );
          socket.on("error", () => undefined);
          if (story.deaf !== true) socket.resume();
          socket.write(story.head);
          if (story.deaf === true) await full();
          else for (let turn = 0; turn < 20; turn += 1) await settle();
          for (let second = 1; second <= seconds; second += 1) {
            each?.(socket, second);
            await settle();
            clock.advance(1000);
            await settle();
          }
          t.equal(pair.log.at(0)?.reason, reason, JSON.stringify(pair.log));
          t.equal(pair.log.length > 0, reason !== undefined, "and ends so");
          socket.destroy();
        },
      );
    },
  );
