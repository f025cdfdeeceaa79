/** The sidecar's own HTTP pages, off the data path: admin on loopback, metrics and readiness for the platform. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import { listenOn, type ListenWhere } from "../../core/listening.ts";
import type {
  HandedListeners,
  ListeningSocket,
} from "../../proxy/downstream/handed-listeners.ts";
import { descriptorOf } from "../../runtime/socket-option.ts";
import { http } from "../../runtime/http.ts";
import { limitConnections } from "../../core/local/connection-limit.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import { REASONS } from "../../mesh/reasons.ts";
import type { Code } from "../../mesh/reasons.ts";
import type { LocalToken } from "../../core/local/local-token.ts";
import { foreignness } from "../../core/local/local-request.ts";
import type { Logger } from "../../core/log.ts";

/** A response: an object is sent as JSON, text as it is. */
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
    status: REASONS[reason].response.status,
    body: `${reason}: ${detail}\n`,
    reason,
  };
}

/** By "METHOD /path"; anything but a GET changes something. `query` is what follows "?". */
export type Pages = Readonly<
  Record<string, (query: URLSearchParams) => Page | Promise<Page>>
>;

/** Connections to one of these servers: few tools and people look after a sidecar. */
export const PAGE_CONNECTIONS: number = 256;
/** Milliseconds for the head of a first request, for that of a next one, and for taking a response. Prometheus comes every 15 s. */
export const PAGE_HEAD_TIMEOUT: number = 10_000;
export const PAGE_IDLE_TIMEOUT: number = 20_000;
export const PAGE_TAKE_TIMEOUT: number = 30_000;
/** Connections that the kernel holds: Node's default. */
const BACKLOG = 511;
/** Milliseconds in which a peer may read why its request was none. */
const LINGER = 1000;

/** Who may ask. */
export type Audience =
  | { readonly kind: "everybody" }
  /** Everybody on this machine, and no web page; and with the token, to change something. `token` undefined: nobody changes anything. */
  | { readonly kind: "local"; readonly token: LocalToken | undefined };

export interface PageServer {
  readonly port: number;
  /** What it listens on. */
  readonly sockets: readonly ListeningSocket[];
  /** Accepts no more, and ends idle connections: another process listens there. */
  stop(): void;
  close(): Promise<void>;
}

export async function servePages(options: {
  /** For which of what was handed over it is. */
  readonly key: string;
  readonly host: string;
  readonly port: number;
  readonly handed: HandedListeners;
  readonly pages: Pages;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly audience: Audience;
}): Promise<PageServer> {
  const { clock, logger } = options;
  const server = http.createServer();
  const refuse = (error: Error, socket: Duplex): void =>
    refuseUnparsed(clock, error, socket);
  limitConnections(
    server,
    clock,
    {
      connections: PAGE_CONNECTIONS,
      headTimeout: PAGE_HEAD_TIMEOUT,
      idleTimeout: PAGE_IDLE_TIMEOUT,
      takeTimeout: PAGE_TAKE_TIMEOUT,
    },
    (request, response) => {
      const page = async (): Promise<void> =>
        send(response, await answer(request, options));
      page().catch((error: unknown) => {
        logger.error({ error: messageOf(error) }, "page failed");
        send(response, refusedPage("INTERNAL", "the page failed; see the log"));
      });
    },
    (socket) => refuse(new StalledHead(), socket),
  );
  server.on("clientError", refuse);
  const { host, key, handed } = options;
  const open = (where: ListenWhere): Promise<AddressInfo> =>
    listenOn(clock, server, where, (error) =>
      logger.error({ error: error.message }, "page server"),
    );
  const [before] = handed.take(key, host, options.port);
  let port = options.port;
  if (before === undefined) ({ port } = await open({ host, port }));
  else {
    ({ port } = before);
    handed.onBegin(() => open({ fd: before.descriptor, backlog: BACKLOG }));
  }
  return {
    port,
    get sockets() {
      const descriptor = descriptorOf(server);
      return descriptor === undefined ? [] : [{ key, host, port, descriptor }];
    },
    stop: () => server.close(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** As Node's own, which sees those alone that say something. */
class StalledHead extends Error {
  readonly code = "ERR_HTTP_REQUEST_TIMEOUT";
}

function answer(
  request: IncomingMessage,
  { pages, audience }: { readonly pages: Pages; readonly audience: Audience },
): Page | Promise<Page> {
  // The body, if any, is not read: what the pages take is in the query.
  request.resume();
  const refused =
    audience.kind === "local"
      ? notAdmitted(request, audience.token)
      : undefined;
  if (refused !== undefined) return refused;
  const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
  const page = Object.hasOwn(pages, `${methodOf(request)} ${path}`)
    ? pages[`${methodOf(request)} ${path}`]
    : undefined;
  if (page !== undefined) return page(new URLSearchParams(query));
  return refusedPage(
    "NO_PAGE",
    `no such page; there are:\n${Object.keys(pages).join("\n")}`,
  );
}

function methodOf({ method = "GET" }: IncomingMessage): string {
  return method === "HEAD" ? "GET" : method;
}

/** Law 13: to be on this machine proves nothing. A web page is there too, and so is every other user. */
function notAdmitted(
  request: IncomingMessage,
  token: LocalToken | undefined,
): Page | undefined {
  switch (foreignness(request.headers)) {
    case "host":
      return refusedPage(
        "NOT_LOCAL",
        "ask for this page as 127.0.0.1 or localhost",
      );
    case "site":
      return refusedPage(
        "CROSS_SITE",
        "another site's page may not ask for this one; open it in a tab of its own, or use curl",
      );
    case undefined:
  }
  if (methodOf(request) === "GET") return undefined;
  if (token === undefined)
    return refusedPage(
      "TOKEN_REQUIRED",
      "nobody may change anything here: this sidecar could not make its token; its log says why",
    );
  return token.admits(request.headers.authorization)
    ? undefined
    : refusedPage(
        "TOKEN_REQUIRED",
        `send "Authorization: Bearer TOKEN"; the token is in ${token.file}`,
      );
}

/** A request that never became one. */
function refuseUnparsed(clock: Clock, error: Error, socket: Duplex): void {
  if (!socket.writable || systemCode(error) === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const reason = UNPARSED[systemCode(error) ?? ""] ?? "BAD_REQUEST";
  const text = `${reason}: ${REASONS[reason].text}\n`;
  socket.end(
    `HTTP/1.1 ${REASONS[reason].response.status} ${reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${text.length}\r\nconnection: close\r\nx-wherry-reason: ${reason}\r\n\r\n${text}`,
  );
  // It may not close its side for ever.
  const cancel = clock.after(LINGER, () => socket.destroy());
  socket.once("close", cancel);
}

const UNPARSED: Readonly<Record<string, Code>> = {
  HPE_HEADER_OVERFLOW: "HEADERS_TOO_LARGE",
  ERR_HTTP_REQUEST_TIMEOUT: "REQUEST_STALLED",
};

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
    ...(page.status === 401
      ? { "www-authenticate": 'Bearer realm="wherry"' }
      : {}),
  });
  response.end(response.req.method === "HEAD" ? undefined : text);
}
