/** Finds the principal of a request, before anything else of it is looked at. */
import type { FastifyRequest } from "fastify";
import type { Clock } from "../../core/clock.ts";
import type { Store } from "../store/store.ts";
import { authenticate, type Principal } from "../tokens.ts";
import type { Api } from "./api.ts";
import { ApiError } from "./errors.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Responds without a token. */
    readonly open?: boolean;
  }
}

const BEARER = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i;

/** Set when the request passed authentication, and looked up by the handlers. */
const principals = new WeakMap<FastifyRequest, Principal>();

/** `onProof`: the connection of the request has proved whose it is. Every other one carries one request and is closed. */
export function addAuthentication(
  api: Api,
  store: Store,
  clock: Clock,
  onProof: (request: FastifyRequest, tokenId: string) => void,
): void {
  api.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.config.open === true) {
      reply.header("connection", "close");
      return;
    }
    const header = request.headers.authorization;
    const [, token] = BEARER.exec(header ?? "") ?? [];
    const principal =
      token === undefined ? undefined : await authenticate(store, clock, token);
    if (principal !== undefined) {
      principals.set(request, principal);
      onProof(request, principal.tokenId);
      return;
    }
    // Its body is not waited for either.
    reply.header("connection", "close");
    reply.header("www-authenticate", 'Bearer realm="wherry"');
    throw new ApiError(
      "Unauthorized",
      header === undefined
        ? "an API token is needed: send Authorization: Bearer TOKEN; the administrator's is in admin.token of the control plane's state directory"
        : "the API token is not known, not well-formed, revoked or expired",
    );
  });
}

/** The principal of a request to a route that is not open. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined)
    throw new ApiError("Unauthorized", "an API token is needed");
  return principal;
}

/** For the audit log; undefined where the request was not authenticated. */
export function tokenIdOf(request: FastifyRequest): string | undefined {
  return principals.get(request)?.tokenId;
}
