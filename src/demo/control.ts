/** The demo's own small server: takes spans by OTLP, shows traces, and starts and stops instances. */
import type { RequestListener, Server } from "node:http";
import { fastify, type FastifyInstance } from "fastify";
import { request } from "undici";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { http } from "../runtime/http.ts";
import { limitConnections } from "../core/local/connection-limit.ts";
import type { LocalToken } from "../core/local/local-token.ts";
import { foreignness } from "../core/local/local-request.ts";
import { withoutFinalSlashes } from "../core/text/url.ts";
import { readExport, type ReceivedSpan } from "./otlp.ts";
import type { ManagedProcess } from "./processes.ts";
import type { TraceStore } from "./trace-store.ts";

export interface ControlOptions {
  readonly clock: Clock;
  readonly port: number;
  readonly traces: TraceStore;
  /** By "catalog-1/sidecar", "catalog-1/app", "control-plane". */
  readonly processes: ReadonlyMap<string, ManagedProcess>;
  /** Where spans go besides; OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly forwardTo: string | undefined;
  /** The token that starts and stops processes. */
  readonly token: LocalToken;
}

/** Where sidecars send their spans, which changes nothing: it is open to all of this machine. */
const SPANS = "/v1/traces";

/** In place of a trace id: the newest trace, once all of it has arrived. */
export const NEWEST = "newest";

/** Milliseconds within which a trace is whole: each sidecar sends its spans once a second. */
const WHOLE_AFTER = 1250;

const EXPORT_AT_MOST = 4 * 1024 * 1024;
/** Connections at once: each of the nine sidecars has one or two. */
export const DEMO_CONNECTIONS: number = 64;
/** Milliseconds for the head of a first request, for that of a next one, and for taking a response. */
export const DEMO_HEAD_TIMEOUT: number = 10_000;
export const DEMO_IDLE_TIMEOUT: number = 60_000;
export const DEMO_TAKE_TIMEOUT: number = 30_000;

/** The error of a caller that may not ask. */
const REFUSALS = {
  host: "ask as 127.0.0.1 or localhost",
  site: "another site's page may not ask here; use npx wherry trace and npx wherry demo",
} as const;

/** Beside the token of the control plane, in the demo's state directory. */
export const DEMO_TOKEN_FILE = "demo.token";

export async function startControl(
  options: ControlOptions,
): Promise<FastifyInstance> {
  const server = fastify({
    bodyLimit: EXPORT_AT_MOST,
    forceCloseConnections: true,
    serverFactory: (handler) => limitedServer(options.clock, handler),
  });
  guard(server, options.token);
  addSpans(server, options);
  addTraces(server, options);
  addProcesses(server, options.processes);
  await server.listen({ host: "127.0.0.1", port: options.port });
  return server;
}

/** Everybody on this machine may look; no web page may, and to change something takes the token, which other users cannot read. */
function guard(server: FastifyInstance, token: LocalToken): void {
  server.addHook("onRequest", async ({ headers, method, url }, reply) => {
    const foreign = foreignness(headers);
    if (foreign !== undefined)
      return reply.code(403).send({ error: REFUSALS[foreign] });
    const changes = method !== "GET" && method !== "HEAD";
    if (!changes || url === SPANS) return undefined;
    if (token.admits(headers.authorization)) return undefined;
    return reply
      .code(401)
      .header("www-authenticate", 'Bearer realm="wherry"')
      .send({
        error: `send "Authorization: Bearer TOKEN"; the token is in ${token.file}`,
      });
  });
}

function addSpans(server: FastifyInstance, options: ControlOptions): void {
  server.addContentTypeParser(
    "application/x-protobuf",
    { parseAs: "buffer" },
    (_request, body, done) => done(null, body),
  );
  server.post(SPANS, async (incoming, reply) => {
    const body = incoming.body;
    if (!Buffer.isBuffer(body))
      return reply.code(415).send({
        error: "invalid content type: expected application/x-protobuf",
      });
    try {
      options.traces.add(readExport(body));
    } catch (error) {
      return reply.code(400).send({
        error: `invalid ExportTraceServiceRequest: ${messageOf(error)}`,
      });
    }
    // Not waited for: a collector that hangs must not hold up the sidecars.
    // Where the collector that the user named is down, nothing of the demo depends on it.
    if (options.forwardTo !== undefined)
      forward(options.forwardTo, body).catch(() => undefined);
    return reply.type("application/x-protobuf").send(Buffer.alloc(0));
  });
}

function addTraces(server: FastifyInstance, options: ControlOptions): void {
  server.get("/traces", () => options.traces.list());
  server.get(`/traces/${NEWEST}`, async (_incoming, reply) => {
    const spans = await newestWhole(options);
    return spans === undefined
      ? reply.code(404).send({
          error:
            "no trace has arrived yet: open the shop's page, and look again",
        })
      : reply.send(spans);
  });
  server.get<{ Params: { id: string } }>("/traces/:id", (incoming, reply) => {
    const spans = options.traces.get(incoming.params.id);
    if (spans === undefined)
      return reply.code(404).send({
        error: `no trace begins with "${incoming.params.id}", or more than one does`,
      });
    return reply.send(spans);
  });
}

function addProcesses(
  server: FastifyInstance,
  processes: ReadonlyMap<string, ManagedProcess>,
): void {
  server.get("/processes", () => [...processes.values()].map(describe));
  server.post<{ Params: { action: string; "*": string } }>(
    "/processes/:action/*",
    async (incoming, reply) => {
      const { action, "*": name } = incoming.params;
      const chosen = [...processes.values()].filter(
        (process) =>
          process.name === name || process.name.startsWith(`${name}/`),
      );
      if (chosen.length === 0)
        return reply.code(404).send({
          error: `there is no process "${name}"; there are ${[...processes.keys()].join(", ")}`,
        });
      if (!(await act(action, chosen)))
        return reply.code(404).send({
          error: `invalid action "${action}": expected start, stop or kill`,
        });
      return reply.send(chosen.map(describe));
    },
  );
}

/** False where the action is unknown. */
async function act(
  action: string,
  chosen: readonly ManagedProcess[],
): Promise<boolean> {
  switch (action) {
    case "start":
      for (const process of chosen) process.start();
      return true;
    case "stop":
      await Promise.all(chosen.map((process) => process.stop()));
      return true;
    case "kill":
      await Promise.all(chosen.map((process) => process.kill()));
      return true;
    default:
      return false;
  }
}

function describe({ name, pid, running }: ManagedProcess): object {
  return { name, pid, running };
}

function limitedServer(clock: Clock, handler: RequestListener): Server {
  const server = http.createServer();
  limitConnections(
    server,
    clock,
    {
      connections: DEMO_CONNECTIONS,
      headTimeout: DEMO_HEAD_TIMEOUT,
      idleTimeout: DEMO_IDLE_TIMEOUT,
      takeTimeout: DEMO_TAKE_TIMEOUT,
    },
    handler,
    (socket) => socket.destroy(),
  );
  return server;
}

/** The newest trace of now that several services took part in, where there is one; else whatever came last. */
async function newestWhole({
  clock,
  traces,
}: ControlOptions): Promise<readonly ReceivedSpan[] | undefined> {
  const now = clock.wall();
  await new Promise<void>((resolve) => clock.after(WHOLE_AFTER, resolve));
  const all = traces.list();
  const found =
    all.find(
      ({ rooted, services, start }) =>
        rooted && services.length > 1 && start <= now,
    ) ?? all[0];
  return found === undefined ? undefined : traces.get(found.traceId);
}

/** Best effort: the demo's own store has the spans in any case. */
async function forward(endpoint: string, body: Buffer): Promise<void> {
  const answer = await request(`${withoutFinalSlashes(endpoint)}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body,
    headersTimeout: 5000,
    bodyTimeout: 5000,
  });
  await answer.body.dump();
}
