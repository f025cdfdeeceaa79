/** The sidecar's own HTTP pages, off the data path: admin on loopback, metrics and readiness for the platform. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";

/** An answer: an object is sent as JSON, text as it is. */
export interface Page {
  readonly status: number;
  readonly body: unknown;
  readonly type?: string;
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
  const server = createServer((request, response) => {
    void (async () => {
      try {
        send(response, await answer(request, options.pages, options.localOnly));
      } catch (error) {
        options.logger.error({ error: messageOf(error) }, "page failed");
        send(response, { status: 500, body: "the page failed; see the log\n" });
      }
    })();
  });
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
    return {
      status: 403,
      body: "ask for this page as 127.0.0.1 or localhost\n",
    };
  const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET");
  const page = Object.hasOwn(pages, `${method} ${path}`)
    ? pages[`${method} ${path}`]
    : undefined;
  if (page !== undefined) return page(new URLSearchParams(query));
  return {
    status: 404,
    body: `no such page; there are:\n${Object.keys(pages).join("\n")}\n`,
  };
}

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
