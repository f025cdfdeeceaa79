/** The API as a server: parsing, authentication, routes, errors, and an orderly end. */
import { constants } from "node:crypto";
import type { TlsOptions } from "node:tls";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { formatHostPort } from "../../core/text/host-port.ts";
import { isLoopbackHost } from "../../core/text/network.ts";
import { http } from "../../runtime/http.ts";
import { oneAtATime } from "../../core/local/connection-limit.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { cannotListen, hearErrors } from "../../core/listening.ts";
import { again } from "../../core/machine/again.ts";
import { limitHolders } from "../holders.ts";
import { meterRequests } from "../request-meters.ts";
import { Strangers, type StrangerLimits } from "../strangers.ts";
import { METHODS, requireCallers, type Api } from "./api.ts";
import { addAuthentication, tokenIdOf } from "./rights/authentication.ts";
import type { ClientCertificates } from "./rights/client-certificates.ts";
import {
  limitBodies,
  BODY_LIMIT,
  JSON_TYPES,
  MOST_LISTS,
  MOST_LISTS_OF_TOKEN,
  parseJson,
  parseYaml,
  YAML_LIMIT,
  YAML_TYPES,
} from "./bodies.ts";
import { documentApi } from "./documentation.ts";
import {
  ApiError,
  failure,
  refuseUnparsed,
  API_REASONS,
  toApiError,
} from "./errors.ts";
import { collectMethods, refuseOtherMethods } from "./other-methods.ts";
import { limitReads } from "./reads.ts";
import { addApplyRoutes } from "./routes/apply-routes.ts";
import { addDeleteRoutes } from "./routes/delete-routes.ts";
import { addTrustRoutes } from "./routes/trust-routes.ts";
import { addMeshRoutes } from "./routes/mesh-routes.ts";
import { isObject } from "../../core/text/json.ts";
import type { ApiOptions } from "./options.ts";
import { addResourceRoutes } from "./routes/resource-routes.ts";
import { SharedTurnstile } from "./turnstile.ts";
import { validatorCompiler } from "./validation.ts";
import { hideTokens } from "../tokens.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** PEM; without it only loopback addresses are listened on. */
  readonly tls?: {
    readonly certificate: string;
    readonly privateKey: string;
    /** Absent: tokens alone are accepted. */
    readonly clients?: ClientCertificates;
  };
}

export interface RunningApi {
  /** "http://127.0.0.1:15080" */
  readonly url: string;
  /** Ends watches, lets other requests finish, and is done within 2 s. */
  close(): Promise<void>;
}

/** Milliseconds that requests have to finish when the API closes. */
const CLOSE_TIMEOUT = 2000;

/** What connections may hold before a request on them has brought a token. */
export const STRANGER_LIMITS: StrangerLimits = {
  perSource: 256,
  together: 768,
  time: 15_000,
  bytes: 256 * 1024,
};

/** Connections of one token, watches most of all. */
export const MOST_OF_TOKEN = 256;
/** Connections of all callers. */
export const MOST_CONNECTIONS = 4096;

/** Milliseconds. A client that never finishes its request does not hold a socket for long. */
export const API_TIMEOUTS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
} as const;

/** Throws UserError where the address cannot be listened on, or may not be. */
export async function startApi(
  options: ApiOptions,
  listen: ListenOptions,
): Promise<RunningApi> {
  const { host, port, tls } = listen;
  if (tls === undefined && !isLoopbackHost(host))
    throw new UserError(
      `the API is not served without TLS on ${host}, for tokens would travel in plaintext: give it --api-certificate and --api-key, or listen on 127.0.0.1 with --api`,
    );
  let api: Api;
  try {
    api = await buildApi(options, tls);
  } catch (thrown) {
    if (tls === undefined) throw thrown;
    throw new UserError(
      `the API's certificate and key (--api-certificate, --api-key) cannot be used: ${messageOf(thrown)}; give PEM files that belong together`,
      { cause: thrown },
    );
  }
  try {
    await again(options.clock, () => api.listen({ host, port }));
    hearErrors(api.server, ({ message: reason }) =>
      options.logger.warn({ reason }, "a connection to the API was not let in"),
    );
  } catch (thrown) {
    await api.close();
    throw cannotListen(
      { what: "the API", host, port, option: "--api" },
      thrown,
    );
  }
  const bound = boundPort(api.server.address()) ?? port;
  return {
    url: `${tls === undefined ? "http" : "https"}://${formatHostPort(host, bound)}`,
    async close() {
      const stop = options.clock.after(CLOSE_TIMEOUT, () =>
        api.server.closeAllConnections(),
      );
      await api.close();
      stop();
    },
  };
}

/** The API ready for requests, not listening yet. */
export async function buildApi(
  options: ApiOptions,
  tls?: ListenOptions["tls"],
): Promise<Api> {
  const strangers = new Strangers({
    where: "the API",
    limits: STRANGER_LIMITS,
    clock: options.clock,
    logger: options.logger,
  });
  const api = makeApi(strangers, tls);
  const closing = new AbortController();
  api.addHook("preClose", (done) => {
    closing.abort();
    strangers.close();
    done();
  });
  addBodies(api);
  addErrors(api, options);
  options.tracing?.addTo(api);
  meterRequests(api, options.clock, options.meters);
  authenticate(api, options, strangers, tls?.clients);
  const { clock, loop, meters } = options;
  limitReads(api, { clock, loop, shed: meters.shed });
  limitBodies(api);
  addSafetyHeaders(api);
  addAudit(api, options);
  requireCallers(api);
  const methods = collectMethods(api);
  await documentApi(api);
  addMeshRoutes(api, options);
  addTrustRoutes(api, options);
  addResourceRoutes(api, options, closing.signal);
  const lists = new SharedTurnstile(MOST_LISTS, MOST_LISTS_OF_TOKEN);
  addApplyRoutes(api, options, lists);
  addDeleteRoutes(api, options, lists);
  refuseOtherMethods(api, methods);
  await api.ready();
  return api;
}

/** A server without routes: how it takes requests, and what it says to those that are none. */
function makeApi(strangers: Strangers, tls: ListenOptions["tls"]): Api {
  const api: Api = fastify({
    serverFactory: (handler) => {
      const server = makeServer(oneAtATime(handler), tls);
      server.on("connection", (raw) => strangers.admit(raw));
      return server;
    },
    bodyLimit: BODY_LIMIT,
    // Names go up to 253 characters.
    routerOptions: { maxParamLength: 300 },
    clientErrorHandler: (error, socket) => refuseUnparsed(error, socket),
    frameworkErrors: (error, _request, reply) => {
      const known = toApiError(error);
      // Before routing there is no route whose responses the reply could know.
      reply.raw.writeHead(API_REASONS[known.reason].status, {
        "content-type": "application/json",
      });
      reply.raw.end(JSON.stringify(failure(known)));
    },
  });
  api.setValidatorCompiler(validatorCompiler);
  // What goes out has been made from checked parts: dropping fields in silence would hide a defect.
  api.setSerializerCompiler(() => (body) => JSON.stringify(body));
  return api;
}

/** A token that holds many connections loses its oldest. */
function authenticate(
  api: Api,
  options: ApiOptions,
  strangers: Strangers,
  clients: ClientCertificates | undefined,
): void {
  const tokens = limitHolders(MOST_OF_TOKEN, (token) =>
    options.logger.warn(
      { token },
      `a token holds more than ${MOST_OF_TOKEN} connections: its oldest was closed`,
    ),
  );
  const onProof = ({ raw }: FastifyRequest, token: string): void => {
    strangers.prove(raw.socket);
    tokens.add(token, raw.socket);
  };
  addAuthentication(api, options.store, options.clock, onProof, clients);
}

function makeServer(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  tls: ListenOptions["tls"],
): Server {
  const timeouts = {
    ...API_TIMEOUTS,
    // How often the first two are looked at: at Node's default they would be half a minute late.
    connectionsCheckingInterval: 1000,
  };
  const server: Server =
    tls === undefined
      ? http.createServer(timeouts, handler)
      : createTlsServer(
          {
            ...timeouts,
            handshakeTimeout: 5000,
            cert: tls.certificate,
            key: tls.privateKey,
            minVersion: "TLSv1.3",
            ...clientOptions(tls.clients),
          },
          handler,
        );
  server.maxConnections = MOST_CONNECTIONS;
  return server;
}

/** Bad certificates get through the handshake, so that the response can say what is wrong with them. */
function clientOptions(clients: ClientCertificates | undefined): TlsOptions {
  return clients === undefined
    ? {}
    : {
        ca: clients.authorities,
        requestCert: true,
        rejectUnauthorized: false,
        // A resumed session would bring a name that this connection did not prove.
        secureOptions: constants.SSL_OP_NO_TICKET,
      };
}

function addBodies(api: Api): void {
  api.removeAllContentTypeParsers();
  const buffer = { parseAs: "buffer" } as const;
  api.addContentTypeParser([...JSON_TYPES], buffer, (request, body, done) =>
    parseInto(done, () =>
      parseJson(Buffer.from(body), request.routeOptions.config.mostValues),
    ),
  );
  api.addContentTypeParser(
    [...YAML_TYPES],
    { parseAs: "buffer", bodyLimit: YAML_LIMIT },
    (_request, body, done) =>
      parseInto(done, () => parseYaml(Buffer.from(body))),
  );
  api.addHook("preValidation", (request, _reply, done) => {
    done(bodyError(request));
  });
}

function parseInto(
  done: (error: Error | null, body?: unknown) => void,
  parse: () => unknown,
): void {
  let body: unknown;
  try {
    body = parse();
  } catch (thrown) {
    done(toApiError(thrown));
    return;
  }
  done(null, body);
}

/** Where a route takes a body, there must be one, in a form that the route takes. */
function bodyError(request: FastifyRequest): ApiError | undefined {
  const wanted: unknown = request.routeOptions.schema?.body;
  if (!isObject(wanted) || !isObject(wanted["content"])) return undefined;
  const types = Object.keys(wanted["content"]);
  if (request.body === undefined)
    return new ApiError("BadRequest", "the body is missing");
  return types.includes(request.mediaType ?? "")
    ? undefined
    : new ApiError(
        "UnsupportedMediaType",
        `content-type ${request.mediaType ?? ""} is not taken here: send ${types.join(" or ")}`,
      );
}

function addErrors(api: Api, { logger }: ApiOptions): void {
  const send = (
    thrown: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
  ): FastifyReply => {
    const error = toApiError(thrown);
    const code = API_REASONS[error.reason].status;
    if (code >= 500)
      logger.error(
        { method: request.method, url: request.url, error: error.cause },
        error.message,
      );
    return reply.code(code).type("application/json").send(failure(error));
  };
  api.setErrorHandler(send);
  const methods: readonly string[] = METHODS;
  api.setNotFoundHandler((request, reply) =>
    send(
      methods.includes(request.method)
        ? new ApiError(
            "NotFound",
            `there is no path ${request.url.slice(0, 200)}; /openapi.json has those that there are`,
          )
        : new ApiError(
            "MethodNotAllowed",
            `${request.method} is not possible here; /openapi.json has what is`,
          ),
      request,
      reply,
    ),
  );
}

/** Responses are for their reader alone, and nothing to run. */
function addSafetyHeaders(api: Api): void {
  api.addHook("onSend", (_request, reply, _payload, done) => {
    reply.header("cache-control", "no-store");
    reply.header("x-content-type-options", "nosniff");
    done();
  });
}

/** One line for each write, refused or not. */
function addAudit(api: Api, { logger }: ApiOptions): void {
  api.addHook("onResponse", (request, reply, done) => {
    if (request.method !== "GET" && request.method !== "HEAD")
      logger.info(
        {
          method: request.method,
          url: hideTokens(request.url),
          token: tokenIdOf(request),
          status: reply.statusCode,
          remote: request.ip,
        },
        "API write",
      );
    done();
  });
}

function boundPort(address: AddressInfo | string | null): number | undefined {
  return typeof address === "object" ? address?.port : undefined;
}
