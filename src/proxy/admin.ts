/** The sidecar's own HTTP pages, off the data path: admin on loopback, metrics and readiness for the platform. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { http } from "../core/http.ts";
import { messageOf, REASONS, systemCode, type Code } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { RESCUES } from "./rescue.ts";

/** An answer: an object is sent as JSON, text as it is. */
export interface Page {
  readonly status: number;
  readonly body: unknown;
  readonly type?: string;
  /** Why it is not the page that was asked for. */
  readonly reason?: Code;
}

/** Refusals of pages carry their reason as those of calls do; their status is the reason's. */
export function refusedPage(reason: Code, detail: string): Page {
  return {
    status: RESCUES[reason].status,
    body: `${reason}: ${detail}\n`,
    reason,
  };
}

/** By "METHOD /path". `query` is what follows "?". */
export type Pages = Readonly<
  Record<string, (query: URLSearchParams) => Page | Promise<Page>>
>;

/** Connections to one of these servers: those who look after a sidecar are few. */
export const PAGE_CONNECTIONS: number = 256;

export interface PageServer {
  readonly port: number;
  close(): Promise<void>;
}

export async function servePages(options: {
  readonly host: string;
  readonly port: number;
  readonly pages: Pages;
  readonly logger: Logger;
  /** Only requests that name this machine are taken: a web page in a browser must not reach an admin port by a name of its own. */
  readonly localOnly: boolean;
}): Promise<PageServer> {
  const server = http.createServer((request, response) => {
    void (async () => {
      try {
        send(response, await answer(request, options.pages, options.localOnly));
      } catch (error) {
        options.logger.error({ error: messageOf(error) }, "page failed");
        send(response, refusedPage("INTERNAL", "the page failed; see the log"));
      }
    })();
  });
  server.on("clientError", refuseUnparsed);
  server.maxConnections = PAGE_CONNECTIONS;
  server.headersTimeout = 10_000;
  server.requestTimeout = 10_000;
  const port = await listen(server, options.host, options.port);
  server.on("error", (error) =>
    options.logger.error({ error: error.message }, "page server"),
  );
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(
  request: IncomingMessage,
  pages: Pages,
  localOnly: boolean,
): Page | Promise<Page> {
  // The body, if any, is not read: what the pages take stands in the query.
  request.resume();
  if (localOnly && !isLocal(request.headers.host))
    return refusedPage(
      "NOT_LOCAL",
      "ask for this page as 127.0.0.1 or localhost",
    );
  const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET");
  const page = Object.hasOwn(pages, `${method} ${path}`)
    ? pages[`${method} ${path}`]
    : undefined;
  if (page !== undefined) return page(new URLSearchParams(query));
  return refusedPage(
    "NO_PAGE",
    `no such page; there are:\n${Object.keys(pages).join("\n")}`,
  );
}

/** A request that never became one. */
function refuseUnparsed(error: Error, socket: Duplex): void {
  if (!socket.writable || systemCode(error) === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const reason = UNPARSED[systemCode(error) ?? ""] ?? "BAD_REQUEST";
  const text = `${reason}: ${REASONS[reason]}\n`;
  socket.end(
    `HTTP/1.1 ${RESCUES[reason].status} ${reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${text.length}\r\nconnection: close\r\nx-wherry-reason: ${reason}\r\n\r\n${text}`,
  );
}

const UNPARSED: Readonly<Record<string, Code>> = {
  HPE_HEADER_OVERFLOW: "HEADERS_TOO_LARGE",
  ERR_HTTP_REQUEST_TIMEOUT: "REQUEST_STALLED",
};

function isLocal(host: string | undefined): boolean {
  return (
    host !== undefined &&
    /^(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?$/i.test(host)
  );
}

function send(response: ServerResponse, page: Page): void {
  const isText = typeof page.body === "string";
  const text =
    typeof page.body === "string"
      ? page.body
      : `${JSON.stringify(page.body, undefined, 2)}\n`;
  response.writeHead(page.status, {
    "content-type":
      page.type ?? (isText ? "text/plain; charset=utf-8" : "application/json"),
    "content-length": Buffer.byteLength(text),
    "x-content-type-options": "nosniff",
    ...(page.reason === undefined ? {} : { "x-wherry-reason": page.reason }),
  });
  response.end(response.req.method === "HEAD" ? undefined : text);
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string")
        reject(new TypeError("a page server has a TCP address"));
      else resolve(address.port);
    });
  });
}
