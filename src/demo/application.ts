/** One small HTTP server of the demo shop: it knows nothing of the mesh but the address at which it calls others. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { http } from "../runtime/http.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { foreignness } from "../core/local/local-request.ts";
import { makeChaos, type Chaos } from "./chaos.ts";
import type { Answer, Service } from "./call.ts";
import type { Caller } from "./caller.ts";

export interface ApplicationOptions {
  /** "catalog" */
  readonly service: string;
  /** "catalog-1" */
  readonly instance: string;
  /** "v1" */
  readonly version: string;
  readonly port: number;
  readonly clock: Clock;
}

export interface Application {
  readonly port: number;
  close(): Promise<void>;
}

const BODY_AT_MOST = 64 * 1024;

/** Starts the server on loopback. `makeCaller` binds a caller to the trace context of one request. */
export async function startApplication(
  options: ApplicationOptions,
  service: Service,
  makeCaller: (traceHeaders: Readonly<Record<string, string>>) => Caller,
): Promise<Application> {
  const chaos = makeChaos(options.clock);
  const server = http.createServer((request, response) => {
    serve(options, service, makeCaller, chaos, request, response).catch(
      (error: unknown) => {
        answer(response, { status: 500, body: { error: messageOf(error) } });
      },
    );
  });
  // Longer than the sidecar keeps an idle connection, so that the application is never the one to close.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", () => resolve());
  });
  return { port: portOf(server), close: () => closeServer(server) };
}

async function serve(
  options: ApplicationOptions,
  service: Service,
  makeCaller: (traceHeaders: Readonly<Record<string, string>>) => Caller,
  chaos: Chaos,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://shop");
  const method = request.method ?? "GET";
  const body = await readBody(request);
  if (body === undefined) {
    answer(response, {
      status: 413,
      body: {
        error: `the body is too large: expected at most ${BODY_AT_MOST} bytes`,
      },
    });
    return;
  }
  if (url.pathname === "/chaos") {
    // For people at this machine; no web page, and no caller through the mesh.
    if (method === "POST" && foreignness(request.headers) !== undefined) {
      answer(response, {
        status: 403,
        body: {
          error:
            "trouble is made from this machine alone: ask as 127.0.0.1 or localhost",
        },
      });
      return;
    }
    answer(
      response,
      method === "POST"
        ? chaos.set(body)
        : { status: 200, body: chaos.state() },
    );
    return;
  }
  if (await chaos.strikes(method)) {
    answer(response, {
      status: 503,
      body: { error: "out of order, by chaos", instance: options.instance },
    });
    return;
  }
  const result = await service({
    method,
    path: url.pathname,
    query: url.searchParams,
    body,
    accept: request.headers.accept ?? "",
    caller: makeCaller(traceHeaders(request)),
  });
  answer(response, result, { "x-served-by": options.instance });
}

function traceHeaders(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of ["traceparent", "tracestate"]) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  return headers;
}

/** The JSON body, {} where there is none, or undefined where it is too large. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // The rest is read and thrown away: to leave it unread would close the connection before the response is out.
    if (size > BODY_AT_MOST) chunks.length = 0;
    else chunks.push(chunk);
  }
  if (size > BODY_AT_MOST) return undefined;
  if (size === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    return {};
  }
}

function answer(
  response: ServerResponse,
  result: Answer,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text =
    typeof result.body === "string"
      ? result.body
      : `${JSON.stringify(result.body, undefined, 2)}\n`;
  response.writeHead(result.status, {
    ...headers,
    "content-type": result.type ?? "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
