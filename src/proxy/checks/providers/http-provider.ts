/**
 * A provider that speaks HTTP, as Envoy's ext_authz asks one: the request's own method and path, a few of its headers, and its body
 * where that is said. 200 allows; a 5xx, or no response, is a failure; anything else denies, and its page is the caller's.
 */
import type { buildConnector, Dispatcher, Pool } from "undici";
import { messageOf } from "../../../core/errors.ts";
import { formatHost, splitHostPort } from "../../../core/text/host-port.ts";
import { late } from "../../../runtime/late.ts";
import { lookupOf } from "../../../runtime/fetch/guarded-lookup.ts";
import { readFirst } from "../../../runtime/fetch/read-first.ts";
import {
  isWritable,
  listed,
} from "../../../policy/authorization/provider-headers.ts";
import { dashed } from "../../../mesh/field-class.ts";
import type {
  Provider,
  ProviderTls,
} from "../../../resources/mesh/providers.ts";
import {
  HeaderRules,
  MOST_PAGE,
  type Answer,
  type Asked,
  type Asking,
  type Denied,
  type ProviderClient,
  type Written,
} from "./answer.ts";
import { provenName, type ProvenName } from "./proven-name.ts";
import { StatusLine } from "./status-line.ts";

/** Connections to one provider, and bytes of the head of its response. */
const CONNECTIONS = 64;
const MOST_HEAD = 16_384;
/** Milliseconds in which an idle connection is given up: before most servers do. */
const KEEP_ALIVE = 4000;
export const PARTIAL = "x-envoy-auth-partial-body";

type HttpServer = Extract<Provider["server"], { kind: "http" }>;

export function httpProvider(
  provider: Provider,
  server: HttpServer,
): ProviderClient {
  const rules = new HeaderRules(provider);
  const isSent = listed(server.headersToProvider);
  const proven = server.tls && provenName(server.address, server.tls);
  let pool: Promise<Pool> | undefined;
  const open = (): Promise<Pool> => {
    const opened = openPool(server, proven);
    // Made ahead: nobody may wait for it yet. The next question tries again.
    opened.catch(() => {
      if (pool === opened) pool = undefined;
    });
    return opened;
  };
  pool = open();
  return {
    ask(asked, done) {
      const controller = new AbortController();
      let denied: Denied | undefined;
      let line: StatusLine | undefined;
      /** A status line that says no is one, whatever comes behind it. */
      const denial = (): Denied | undefined =>
        denied ??
        (isNo(line?.status)
          ? rules.denied(line.status, [], undefined)
          : undefined);
      const question = async (): Promise<Answer> => {
        if (server.pathPrefix !== "" && climbs(asked.read?.target ?? ""))
          return rules.denied(400, [], undefined);
        pool ??= open();
        const request: Requested = {
          ...requestOf(asked, server, isSent, proven),
          onLine: (own) => (line = own),
          signal: controller.signal,
        };
        const response = await (await pool).request(request);
        return read(response, rules, (denial) => (denied = denial));
      };
      question().then(
        (answer) => controller.signal.aborted || done(answer),
        (error: unknown) => {
          if (controller.signal.aborted) return;
          done(denial() ?? { kind: "failed", why: messageOf(error) });
        },
      );
      const asking: Asking = {
        cancel: () => controller.abort(),
        denied: denial,
      };
      return asking;
    },
    close() {
      pool?.then((open) => open.close()).catch(() => undefined);
      pool = undefined;
    },
  };
}

async function openPool(
  { address, tls }: HttpServer,
  proven: ProvenName | undefined,
): Promise<Pool> {
  const undici = await late(() => import("../../../runtime/undici.ts"));
  const { host, port } = splitHostPort(address);
  return new undici.Pool(
    `${tls === undefined ? "http" : "https"}://${formatHost(host)}:${port}`,
    {
      connections: CONNECTIONS,
      pipelining: 1,
      maxHeaderSize: MOST_HEAD,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
      allowH2: false,
      // Each connection has one question at a time, and what is read on it belongs to that.
      factory(origin, options) {
        const line = new StatusLine();
        const connect = connector(undici, { host, tls }, proven, line);
        const client = new undici.Client(origin, { ...options, connect });
        const dispatch = client.dispatch.bind(client);
        client.dispatch = (asked: Requested, handler) => {
          line.begin();
          asked.onLine?.(line);
          return dispatch(asked, handler);
        };
        return client;
      },
    },
  );
}

/** Only status 200 allows, and 5xx says that the provider failed. */
function isNo(status: number | undefined): status is number {
  return status !== undefined && status !== 200 && status < 500;
}

/** Its connections read an early response before they fail: a denial may come before all of the request was read. */
function connector(
  undici: { readonly buildConnector: typeof buildConnector },
  {
    host,
    tls,
  }: { readonly host: string; readonly tls: ProviderTls | undefined },
  proven: ProvenName | undefined,
  line: StatusLine,
): buildConnector.connector {
  const connect = undici.buildConnector({
    allowH2: false,
    lookup: lookupOf(host, undefined),
    ...(proven === undefined ? {} : { checkServerIdentity: proven.check }),
    ...(tls?.trustBundle === undefined ? {} : { ca: tls.trustBundle }),
  });
  return (options, done) =>
    // undici asks for the Host of a request as the server's name, and has that proved.
    connect(
      proven === undefined
        ? options
        : { ...options, servername: proven.serverName ?? "" },
      (...made) => {
        if (made[0] === null) {
          readFirst(made[1]);
          line.watch(made[1]);
        }
        done(...made);
      },
    );
}

/** `servername`: one for all, or a request with another Host would have the connection made anew. */
type Requested = Dispatcher.RequestOptions & {
  readonly servername?: string;
  /** Hears which connection carries it. */
  readonly onLine?: (line: StatusLine) => void;
};

function requestOf(
  { stream, read, body, partial }: Asked,
  { pathPrefix, addHeaders }: HttpServer,
  isSent: (name: string) => boolean,
  proven: ProvenName | undefined,
): Requested {
  const { head } = stream;
  const headers: string[] = ["host", head.authority];
  const added = new Set(addHeaders.map(({ name }) => dashed(name)));
  for (const { name, value } of head.fields)
    if (isSent(name) && !added.has(dashed(name)) && dashed(name) !== PARTIAL)
      headers.push(name, value);
  for (const { name, value } of addHeaders)
    if (isWritable(name)) headers.push(name, value);
  if (body !== undefined) headers.push(PARTIAL, String(partial));
  const path = read?.target ?? "/";
  return {
    method: head.method,
    path: `${pathPrefix}${path === "*" ? "/" : path}`,
    headers,
    ...(proven === undefined ? {} : { servername: proven.name }),
    ...(body === undefined || body.length === 0 ? {} : { body }),
  };
}

/** Whether a provider could take the path for one outside of the prefix, where another response than the rule's may be 200. */
function climbs(target: string): boolean {
  const [path = ""] = target.split("?", 1);
  const plain = path
    .replace(/%2f|%5c|\\/gi, "/")
    .replace(/%2e/gi, ".")
    .replace(/%3b/gi, ";");
  // Some servers have parameters in segments (RFC 3986 3.3): "..;x" climbs there.
  return plain.split("/").some((part) => part.split(";", 1)[0] === "..");
}

async function read(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  rules: HeaderRules,
  onDenied: (denied: Denied) => void,
): Promise<Answer> {
  const written = Object.entries(headers).flatMap(([name, value = []]) =>
    [value].flat().map((each): Written => ({
      name,
      value: each,
      append: true,
    })),
  );
  if (statusCode >= 500) {
    await drop(body);
    return { kind: "failed", why: `status ${statusCode}` };
  }
  if (statusCode === 200) {
    await drop(body);
    return rules.allowed(written, written);
  }
  onDenied(rules.denied(statusCode, written, undefined));
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_PAGE) break;
    chunks.push(chunk);
  }
  const page = bytes > MOST_PAGE ? undefined : Buffer.concat(chunks);
  return rules.denied(statusCode, written, page);
}

/** The rest is nothing to us; a small one is read, so that the connection can be used again. */
async function drop(body: Dispatcher.ResponseData["body"]): Promise<void> {
  body.on("error", () => undefined);
  await body.dump({ limit: MOST_PAGE });
}
