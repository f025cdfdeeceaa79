/** Law 3 at scale: whatever breaks at whatever moment, no POST is executed twice, and none that failed is told as done. */
import {
  createServer as createHttpServer,
  Agent,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import t from "tap";
import { REASONS } from "../../../src/mesh/reasons.ts";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import { drawn } from "../../support/drawn.ts";
import { closeCalls } from "../../support/peers/call.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";
import {
  startFaultyFleet,
  type FaultyFleet,
  type FaultyInstance,
} from "../../support/meshes/faulty-fleet.ts";
import { resource, send } from "../../support/meshes/pair.ts";
import {
  needsToxiproxy,
  type FaultyHop,
} from "../../support/faults/toxiproxy.ts";

const POSTS = drawn("WHERRY_POSTS", 10_000, 20_000);
const AT_ONCE = 32;
/** Calls between one fault and the next, and between one sidecar's shutdown and the next. */
const FAULT_EVERY = 15;
const DRAIN_EVERY = 400;

/** An application's own seed and the faults' own: what callers do in between is the system's choice. */
const choose = seededRandom(20_261);
const spoil = seededRandom(20_262);
const vary = seededRandom(20_263);

function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

function oneOf<T>(random: () => number, list: readonly T[]): T {
  const item = list[Math.floor(random() * list.length)];
  if (item === undefined) throw new RangeError("empty list");
  return item;
}

/** Sessions that drained by GOAWAY, and streams that it told to be unprocessed. */
let goaways = 0;
let behind = 0;

// ── the applications: an order is executed as soon as its head is read, whatever becomes of its body and of the answer ─────────

const executed = new Map<string, number>();

/** The sidecars' own health checks are no orders. */
function execute(method: string | undefined, path: string): string {
  if (method === "POST") executed.set(path, (executed.get(path) ?? 0) + 1);
  return `executed ${path}`;
}

function onHttp(request: IncomingMessage, response: ServerResponse): void {
  const done = execute(request.method, request.url ?? "");
  const { socket } = request;
  const fate = choose();
  request.on("error", () => undefined);
  if (fate < 0.02) {
    socket.resetAndDestroy();
    return;
  }
  request.resume();
  request.on("end", () => {
    if (fate < 0.04) {
      socket.destroy();
      return;
    }
    if (fate < 0.07) response.statusCode = 503;
    // Stale at once: kept alive by its word, and gone.
    if (fate > 0.97) response.on("finish", () => socket.resetAndDestroy());
    response.end(done);
  });
}

/** How many streams a session takes before it drains; and once it does, the last stream that it has anything to do with. */
const leaving = new WeakMap<Http2Session, { left: number; last: number }>();

function onStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): void {
  const { session } = stream;
  if (session === undefined) return;
  stream.on("error", () => undefined);
  const life = leaving.get(session) ?? {
    left: between(choose, 5, 50),
    last: Infinity,
  };
  leaving.set(session, life);
  life.left -= 1;
  const id = stream.id ?? 0;
  if (life.left === 0) {
    // Below this stream, and whatever has come after it: GOAWAY says that none of them was processed.
    goaways += 1;
    life.last = id - 2;
    session.goaway(constants.NGHTTP2_NO_ERROR, Math.max(0, life.last));
  }
  if (id > life.last) {
    behind += 1;
    return;
  }
  const fate = choose();
  if (fate < 0.02) {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  const done = execute(headers[":method"], headers[":path"] ?? "");
  stream.resume();
  stream.on("end", () => {
    if (stream.destroyed) return;
    if (fate < 0.04) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    else if (fate < 0.045) session.destroy();
    else {
      stream.respond({ ":status": fate < 0.07 ? 503 : 200 });
      stream.end(done);
    }
  });
}

function app(): ReturnType<Parameters<typeof startFaultyFleet>[0]["app"]> {
  const http2 = createHttp2Server();
  http2.on("stream", onStream);
  http2.on("sessionError", () => undefined);
  return { http: createHttpServer(onHttp), http2 };
}

// ── the faults ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The link is one connection for many calls, so it has most of the faults. */
const HOPS = ["link", "link", "http", "http2"] as const;

/** Breaks one hop of one instance for as long as `FAULT_EVERY` calls take, and mends what was broken before. */
function faults(fleet: FaultyFleet): {
  next(): Promise<void>;
  end(): Promise<void>;
} {
  let mend: (() => Promise<void>) | undefined;
  const kinds: readonly ((hop: FaultyHop) => Promise<void>)[] = [
    async (hop) => {
      await hop.cut();
      await hop.mend();
    },
    async (hop) => {
      await hop.cut();
      mend = () => hop.mend();
    },
    (hop) =>
      hop.poison(
        { type: "limit_data", bytes: between(spoil, 0, 30_000) },
        oneOf(spoil, ["upstream", "downstream"]),
      ),
    (hop) =>
      hop.poison(
        { type: "reset_peer", timeout: between(spoil, 0, 30) },
        "upstream",
      ),
    (hop) =>
      hop.poison(
        { type: "timeout", timeout: between(spoil, 1, 50) },
        oneOf(spoil, ["upstream", "downstream"]),
      ),
    (hop) => hop.poison({ type: "slicer", average_size: 7 }, "upstream"),
  ];
  const end = async (): Promise<void> => {
    await mend?.();
    mend = undefined;
  };
  return {
    end,
    async next() {
      await end();
      const instance: FaultyInstance = oneOf(spoil, fleet.instances);
      const hop = instance[oneOf(spoil, HOPS)];
      mend = () => hop.calm();
      await oneOf(spoil, kinds)(hop);
    },
  };
}

// ── the caller ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Told {
  readonly path: string;
  /** 0: the answer broke off. */
  readonly status: number;
  readonly reason: string | undefined;
  readonly text: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

function post(port: number, path: string, host: string): Promise<Told> {
  return new Promise((resolve) => {
    const broken = ({ message }: Error): void =>
      resolve({ path, status: 0, reason: undefined, text: message });
    const request = httpRequest(
      { agent, port, path, method: "POST", headers: { host } },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("error", broken);
        response.on("end", () => {
          const reason = response.headers["x-wherry-reason"];
          resolve({
            path,
            status: response.statusCode ?? 0,
            reason: typeof reason === "string" ? reason : undefined,
            text,
          });
        });
      },
    );
    request.on("error", broken);
    // Some orders come in pieces and some are longer than what is kept for a repeat.
    const size = vary() < 0.03 ? 100_000 : between(vary, 0, 4000);
    if (vary() < 0.3) request.write(Buffer.alloc(size, 111));
    request.end(Buffer.alloc(size, 112));
  });
}

const POLICIES = [
  resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [80, 90].map((port) => ({
      matches: [{ path: { type: "PathPrefix", value: `/${port}` } }],
      backendRefs: [{ name: "orders", port }],
      // All that a route can ask for.
      retry: { codes: [500, 502, 503, 504], attempts: 3, backoff: "1ms" },
      timeouts: { request: "10s", backendRequest: "1s" },
    })),
  }),
  resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    // Each instance gets its turn, whatever it has shown of itself, so that the faults go on to meet calls.
    loadBalancer: { simple: "ROUND_ROBIN" },
    circuitBreaker: { volumeThreshold: 1_000_000 },
    outlierDetection: {
      consecutive5xxErrors: 0,
      consecutiveLocalOriginFailures: 0,
      successRate: { thresholdPercent: 0 },
    },
  }),
];

void t.test(
  `law 3: of ${POSTS} POSTs over breaking connections and draining servers none is executed twice, each failure is told, and what is provably unprocessed is sent again`,
  { timeout: 300_000, ...needsToxiproxy },
  async (t) => {
    const fleet = await startFaultyFleet({
      instances: 3,
      app,
      resources: POLICIES,
    });
    t.teardown(async () => {
      agent.destroy();
      closeCalls();
      await fleet.close();
    });
    const port = fleet.caller.ports.outbound ?? 0;
    const told: Told[] = [];
    const trouble = faults(fleet);
    // One after the other; the calls go on meanwhile.
    let work = Promise.resolve();
    let begun = 0;
    const customer = async (): Promise<void> => {
      while (begun < POSTS) {
        begun += 1;
        if (begun % FAULT_EVERY === 0) work = work.then(() => trouble.next());
        if (begun % DRAIN_EVERY === 0)
          work = work.then(() => oneOf(spoil, fleet.instances).drain());
        const service = begun % 2 === 0 ? 80 : 90;
        told.push(
          await post(port, `/${service}/${begun}`, `orders.shop:${service}`),
        );
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, customer));
    await work;
    await trouble.end();

    const times = (path: string): number => executed.get(path) ?? 0;
    t.equal(new Set(told.map(({ path }) => path)).size, POSTS, "all ended");
    t.same(
      [...executed].filter(([, count]) => count > 1),
      [],
      "none was executed twice",
    );
    t.same(told.filter(untrue), [], "each caller was told what became of it");
    const lines = linesOf(fleet);
    t.same(
      told.filter((each) => !agrees(each, lines.get(each.path))),
      [],
      "and the log says the same, once",
    );

    const repeated = fleet.log.filter(({ attempts }) => attempts > 1);
    const safe = repeated.filter(
      ({ path, status }) => status === 200 && times(path) === 1,
    );
    t.ok(safe.length >= 100, `${safe.length} were sent again and succeeded`);
    t.equal(
      await retriesOf(fleet),
      repeated.reduce((sum, { attempts }) => sum + attempts - 1, 0),
      "the metric has each repetition",
    );
    // The trouble was real: without it all of the above says little.
    const failed = told.filter(({ status }) => status !== 200);
    const unknown = failed.filter(({ path }) => times(path) === 1);
    t.comment(
      `${POSTS - failed.length} succeeded, ${safe.length} of these by a retry; ${failed.length} failed, ${unknown.length} of these after they were executed; ${goaways} GOAWAYs refused ${behind} streams`,
    );
    for (const [what, count, least] of [
      ["succeeded", POSTS - failed.length, POSTS / 4],
      [
        "were executed though their callers heard that they failed",
        unknown.length,
        100,
      ],
      ["were refused by GOAWAY", behind, 50],
    ] as const)
      t.ok(count >= least, `${count} ${what}`);
  },
);

/** An answer that says something else than what happened, or a failure without a documented reason. */
function untrue({ path, status, reason, text }: Told): boolean {
  const count = executed.get(path) ?? 0;
  if (reason !== undefined)
    return !Object.hasOwn(REASONS, reason) || reason === "INTERNAL";
  // An answer that breaks off is a failure that nobody takes for an answer.
  if (status === 0) return false;
  return count !== 1 || text !== `executed ${path}`;
}

/** The lines of the caller's access log, by path; undefined where a request has more than one. */
function linesOf({ log }: FaultyFleet): Map<string, AccessRecord | undefined> {
  const found = new Map<string, AccessRecord | undefined>();
  for (const line of log)
    found.set(line.path, found.has(line.path) ? undefined : line);
  return found;
}

/** Of an answer that broke off the log keeps the status that was passed on, and says why it was no more. */
function agrees(
  { status, reason }: Told,
  line: AccessRecord | undefined,
): boolean {
  if (line === undefined) return false;
  return status === 0
    ? line.status > 0 && line.reason !== undefined
    : line.status === status && line.reason === reason;
}

async function retriesOf({ caller }: FaultyFleet): Promise<number> {
  const { text } = await send(caller.ports.metrics ?? 0, { path: "/metrics" });
  return [...text.matchAll(/^wherry_retries_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}
