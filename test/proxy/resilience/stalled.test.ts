/** An instance that stops answering, at real sidecars: what may be repeated goes to the other, what may not waits, and its way back costs no call. */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import t from "tap";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Answer,
  type Pair,
  type PairOptions,
} from "../../support/meshes/pair.ts";

interface Shop {
  /** What waits at the first instance. */
  readonly held: ServerResponse[];
  /** Of the first instance. */
  mode: "well" | "hang" | "fail";
  /** Neither instance responds to OPTIONS. */
  deaf: boolean;
  /** Methods that came to it. */
  readonly seen: string[];
  readonly options: PairOptions;
  readonly clock: FakeClock;
}

function shop(simple = "ROUND_ROBIN"): Shop {
  const clock = fakeClock({ wall: Date.now() });
  const answer = (response: ServerResponse, status: number): void => {
    response.statusCode = status;
    response.end(`${status}`);
  };
  const made: Shop = {
    held: [],
    mode: "well",
    deaf: false,
    seen: [],
    clock,
    options: {
      clock,
      instances: 2,
      app: (index) => (request: IncomingMessage, response: ServerResponse) => {
        request.resume();
        request.on("end", () => {
          if (index === 0) made.seen.push(request.method ?? "");
          if (made.deaf && request.method === "OPTIONS") return;
          if (index > 0 || made.mode === "well") answer(response, 200);
          else if (made.mode === "hang") made.held.push(response);
          else answer(response, request.method === "OPTIONS" ? 204 : 500);
        });
      },
      resources: [
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          loadBalancer: { simple },
        }),
      ],
    },
  };
  return made;
}

interface EndpointView {
  readonly held: boolean;
  readonly onProbation: boolean;
}

async function cluster(pair: Pair): Promise<{
  readonly ejections: readonly { readonly reason: string }[];
  readonly endpoints: readonly EndpointView[];
}> {
  const { text } = await send(pair.caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  const { clusters } = JSON.parse(text) as {
    clusters: Awaited<ReturnType<typeof cluster>>[];
  };
  const [found] = clusters;
  if (found === undefined) throw new Error("no cluster");
  return found;
}

/** Lets time pass, a tick at a time, with what happens on the wire in between, until `done`. */
async function passUntil(
  clock: FakeClock,
  done: () => boolean | Promise<boolean>,
): Promise<void> {
  for (let tick = 0; tick < 1000; tick += 1) {
    if (await done()) return;
    clock.advance(5);
    // What is answered at once must not look slow for the clock's haste.
    for (let turn = 0; turn < 50; turn += 1)
      await new Promise((resolve) => void setImmediate(resolve));
  }
  throw new Error("it did not come to pass");
}

/** Calls with `method` until so many wait at the first instance. */
async function hold(
  pair: Pair,
  { held }: Shop,
  method: string,
  count: number,
): Promise<Promise<Answer>[]> {
  const waiting: Promise<Answer>[] = [];
  while (held.length < count) {
    const before = held.length;
    const answer = pair.call({
      method,
      ...(method === "POST" ? { body: "order" } : {}),
    });
    const state = { over: false };
    const ended = (): void => void (state.over = true);
    void answer.then(ended, ended);
    await until(() => state.over || held.length > before);
    if (!state.over) waiting.push(answer);
  }
  return waiting;
}

void t.test(
  "GETs that wait are answered by the other instance; a POST is sent once and waits",
  async (t) => {
    const made = shop();
    const { clock } = made;
    await withPair(made.options, async (pair) => {
      for (let index = 0; index < 40; index += 1) {
        await pair.call();
        clock.advance(1);
      }
      made.mode = "hang";
      const posts = await hold(pair, made, "POST", 1);
      const gets = await hold(pair, made, "GET", 4);
      // The other one goes on answering.
      clock.advance(1);
      await pair.call();
      let answered = 0;
      for (const get of gets) void get.then(() => (answered += 1));
      await passUntil(clock, () => answered === gets.length);
      for (const get of gets) t.equal((await get).status, 200);
      t.match((await cluster(pair)).endpoints, [
        { held: true },
        { held: false },
      ]);
      t.equal(
        made.seen.filter((method) => method === "OPTIONS").length,
        1,
        "it was asked",
      );
      for (let index = 0; index < 10; index += 1)
        t.equal((await pair.call({ method: "POST", body: "x" })).status, 200);
      await passUntil(
        clock,
        async () => (await cluster(pair)).ejections.length > 0,
      );
      t.match((await cluster(pair)).ejections, [{ reason: "stalled" }]);
      t.equal(
        await pair.metric(
          pair.caller,
          "wherry_ejections_total",
          'reason="stalled"',
        ),
        1,
      );
      t.equal(
        await pair.metric(
          pair.caller,
          "wherry_retries_total",
          'reason="stalled"',
        ),
        gets.length,
      );
      const [post] = posts;
      made.mode = "well";
      for (const response of made.held.splice(0))
        if (!response.destroyed) response.end("late");
      t.equal((await post)?.text, "late", "the POST was sent nowhere else");
      await passUntil(clock, async () => {
        await pair.call();
        const [first] = (await cluster(pair)).endpoints;
        return first?.held === false && !first.onProbation;
      });
    });
  },
);

void t.test(
  "a GET alone at an instance that begins to respond after a second, and never ends, is answered by the other one",
  async (t) => {
    const made = shop("PEAK_EWMA");
    const { clock } = made;
    await withPair(made.options, async (pair) => {
      for (let index = 0; index < 40; index += 1) {
        await pair.call();
        clock.advance(1);
      }
      made.mode = "hang";
      const [get] = await hold(pair, made, "GET", 1);
      const drips = clock.now() + 1000;
      let over = false;
      void get?.then(() => (over = true));
      // Nobody else goes where one waits.
      clock.advance(60);
      for (let index = 0; index < 25; index += 1) {
        t.equal((await pair.call({ method: "POST", body: "x" })).status, 200);
        clock.advance(5);
      }
      await passUntil(clock, () => over || clock.now() >= drips);
      t.ok(over, "before there is anything of that response");
      for (const response of made.held) response.end("x");
      t.equal((await get)?.text, "200");
      t.same((await cluster(pair)).ejections, [], "nothing is proved so soon");
    });
  },
);

void t.test(
  "the trial of an endpoint that failed costs no caller a failure, and no POST is the trial",
  async (t) => {
    const made = shop();
    const { clock } = made;
    await withPair(made.options, async (pair) => {
      made.mode = "fail";
      const statuses = new Set<number>();
      for (let index = 0; index < 10; index += 1)
        statuses.add((await pair.call()).status);
      t.same([...statuses].sort(), [200, 500]);
      t.match((await cluster(pair)).ejections, [{ reason: "consecutive-5xx" }]);
      await passUntil(clock, async () => {
        const [first] = (await cluster(pair)).endpoints;
        return first?.held === false;
      });
      t.equal(made.seen.at(-1), "OPTIONS", "first a request of our own");
      const before = made.seen.length;
      for (let index = 0; index < 5; index += 1)
        t.equal((await pair.call({ method: "POST", body: "x" })).status, 200);
      t.equal(made.seen.length, before);
      const answer = pair.call();
      let over = false;
      void answer.then(() => (over = true));
      await passUntil(clock, () => over);
      t.equal((await answer).status, 200, "it failed there, and was sent on");
      t.equal(made.seen.length, before + 1);
      t.match((await cluster(pair)).ejections, [
        { reason: "consecutive-5xx" },
        { reason: "probe" },
      ]);
    });
  },
);

void t.test(
  "an application that responds to no OPTIONS at all is tried all the same",
  async (t) => {
    const made = shop();
    const { clock } = made;
    made.deaf = true;
    await withPair(made.options, async (pair) => {
      made.mode = "fail";
      for (let index = 0; index < 10; index += 1) await pair.call();
      t.match((await cluster(pair)).ejections, [{ reason: "consecutive-5xx" }]);
      made.mode = "well";
      await passUntil(clock, async () => {
        await pair.call();
        const [first] = (await cluster(pair)).endpoints;
        return first?.held === false && !first.onProbation;
      });
      t.equal((await cluster(pair)).ejections.length, 1);
    });
  },
);

/** A message without a byte. */
const MESSAGE = Buffer.alloc(5);
const UNARY = "/shop.Orders/Get";
const WATCH = "/shop.Orders/Watch";

/** Two servers of gRPC; of a call to the first one in `held` nothing is heard. */
function grpcShop(): PairOptions & {
  readonly clock: FakeClock;
  readonly held: Set<string>;
  readonly waiting: ServerHttp2Stream[];
  /** Paths of what was asked of our own. */
  readonly asked: string[];
} {
  const held = new Set<string>();
  const waiting: ServerHttp2Stream[] = [];
  const asked: string[] = [];
  const serve = (index: number): ((socket: Socket) => void) => {
    const server = createServer();
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      const path = headers[":path"] ?? "";
      stream.on("error", () => undefined);
      if (path !== UNARY && path !== WATCH) asked.push(path);
      // Who responds to no unary call responds to none of ours either.
      if (
        index === 0 &&
        (held.has(path) || (path !== WATCH && held.has(UNARY)))
      ) {
        waiting.push(stream);
        return;
      }
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () =>
        stream.sendTrailers({ "grpc-status": "0" }),
      );
      stream.resume();
      if (path === WATCH) stream.write(MESSAGE);
      stream.end(MESSAGE);
    });
    return (socket) => server.emit("connection", socket);
  };
  return {
    ...{ held, waiting, asked, instances: 2, appProtocol: "grpc" },
    clock: fakeClock({ wall: Date.now() }),
    rawApp: serve,
    resources: [
      resource("TrafficPolicy", "orders", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        loadBalancer: { simple: "ROUND_ROBIN" },
      }),
    ],
  };
}

/** A call without a deadline; resolves with its status. */
function grpcCall(
  session: ClientHttp2Session,
  path: string,
): Promise<string | undefined> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    ":authority": "orders.shop:80",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.end(MESSAGE);
  stream.resume();
  stream.on("error", () => undefined);
  return new Promise((resolve) => {
    let status: string | undefined;
    stream.on("trailers", (trailers) => {
      status = String(trailers["grpc-status"]);
    });
    stream.on("close", () => resolve(status));
  });
}

void t.test(
  "gRPC without a deadline: an instance is ejected by unary calls that wait, and by silent streams it is not",
  async (t) => {
    const made = grpcShop();
    const { clock, held, waiting, asked } = made;
    await withPair(made, async (pair) => {
      const session = connect(
        `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
      );
      t.teardown(() => session.destroy());
      const calls = async (count: number): Promise<void> => {
        for (let index = 0; index < count; index += 1) {
          t.equal(await grpcCall(session, UNARY), "0");
          clock.advance(1);
        }
      };
      const hold = async (path: string, count: number): Promise<void> => {
        held.add(path);
        for (const most = waiting.length + count; waiting.length < most;) {
          const before = waiting.length;
          let over = false;
          void grpcCall(session, path).then(() => (over = true));
          await until(() => over || waiting.length > before);
        }
      };
      await calls(20);

      await hold(WATCH, 5);
      clock.advance(1);
      t.equal(await grpcCall(session, WATCH), "0", "the other one responds");
      const late = clock.now() + 4000;
      await passUntil(clock, () => clock.now() >= late);
      t.same(asked, [], "nobody is asked for what streams do not say");
      t.match(await cluster(pair), {
        ejections: [],
        endpoints: [{ held: false }, { held: false }],
      });

      await hold(UNARY, 2);
      // The other one goes on responding.
      clock.advance(1);
      await calls(1);
      for (const wanted of ["doubted", "ejected"])
        await passUntil(clock, async () => {
          const { ejections, endpoints } = await cluster(pair);
          return wanted === "doubted"
            ? endpoints[0]?.held === true
            : ejections.length > 0;
        });
      t.match((await cluster(pair)).ejections, [{ reason: "stalled" }]);
      await calls(10);
    });
  },
);
