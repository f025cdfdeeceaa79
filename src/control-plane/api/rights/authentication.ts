/** Finds the principal of a request and judges whether it may call the route, before anything else of the request is looked at. */
import type { FastifyRequest } from "fastify";
import type { Clock } from "../../../core/clock.ts";
import { isObject } from "../../../core/text/json.ts";
import type { Store } from "../../store/store.ts";
import { authorOf, type Author } from "../../audit/audit.ts";
import { authenticate, type Principal } from "../../tokens.ts";
import type { Api } from "../api.ts";
import {
  judgeCertificate,
  type ClientCertificates,
  type ShownCertificate,
} from "./client-certificates.ts";
import { CALLERS, type Callers } from "./callers.ts";
import { ApiError } from "../errors.ts";

const BEARER = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i;

/** The sender of a request, and the certificate that was looked at for it. */
interface Identified {
  readonly principal: Principal | undefined;
  readonly shown: ShownCertificate | undefined;
}

/** Finds it out anew. */
const identifiers = new WeakMap<FastifyRequest, () => Promise<Identified>>();
/** Set when the request passed authentication, and looked up by the handlers. */
const principals = new WeakMap<FastifyRequest, Principal>();
const authors = new WeakMap<FastifyRequest, Author>();

/** `onProof`: the connection of the request has proved whose it is. Every other one carries one request and is closed. */
export function addAuthentication(
  api: Api,
  store: Store,
  clock: Clock,
  onProof: (request: FastifyRequest, tokenId: string) => void,
  clients: ClientCertificates | undefined,
): void {
  api.addHook("onRequest", async (request, reply) => {
    const callers = CALLERS[callersOf(request)];
    if (!callers.needsToken) {
      reply.header("connection", "close");
      return;
    }
    const header = request.headers.authorization;
    const [, token] = BEARER.exec(header ?? "") ?? [];
    const identify = async (): Promise<Identified> => {
      // A token that is sent decides alone.
      const shown =
        header === undefined
          ? judgeCertificate(request.raw, clients, clock.wall())
          : undefined;
      const principal =
        shown?.kind === "accepted"
          ? shown.principal
          : token === undefined
            ? undefined
            : await authenticate(store, clock, token);
      return { principal, shown };
    };
    const { principal, shown } = await identify();
    if (principal !== undefined) {
      principals.set(request, principal);
      identifiers.set(request, identify);
      onProof(request, principal.tokenId);
      const why = callers.refusal(principal, namespaceOf(request));
      if (why !== undefined) throw new ApiError("Forbidden", why);
      return;
    }
    // Its body is not waited for either.
    reply.header("connection", "close");
    reply.header("www-authenticate", 'Bearer realm="wherry"');
    throw new ApiError(
      "Unauthorized",
      shown?.kind === "refused"
        ? `the client certificate is not accepted: ${shown.why}`
        : header === undefined
          ? `an API token${clients === undefined ? "" : ", or a client certificate,"} is needed: send Authorization: Bearer TOKEN; the administrator's is in admin.token of the control plane's state directory`
          : "the API token is not known, not well-formed, revoked or expired",
    );
  });
}

/** Whether what the request was let in with is good yet: its token may be revoked while its response goes on. */
export async function standsYet(request: FastifyRequest): Promise<boolean> {
  try {
    const found = await identifiers.get(request)?.();
    return found?.principal !== undefined;
  } catch {
    // The store is closed.
    return false;
  }
}

/** What leads to no route tells nobody so without a token. */
function callersOf({ is404, routeOptions }: FastifyRequest): Callers {
  return is404 ? "any-token" : routeOptions.config.callers;
}

function namespaceOf({ params }: FastifyRequest): string | undefined {
  const namespace = isObject(params) ? params["namespace"] : undefined;
  return typeof namespace === "string" ? namespace : undefined;
}

/** The principal of a request to a route that needs a token. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined)
    throw new ApiError("Unauthorized", "an API token is needed");
  return principal;
}

/** The author of what the request does, for the audit log. */
export function authorIn(request: FastifyRequest): Author {
  const known = authors.get(request);
  if (known !== undefined) return known;
  const { certificate, tokenId } = principalOf(request);
  const by = certificate ?? `ApiToken/${tokenId}`;
  const author = authorOf(by, request.ip);
  authors.set(request, author);
  return author;
}

/** Undefined where the request was not authenticated. */
export function tokenIdOf(request: FastifyRequest): string | undefined {
  return principals.get(request)?.tokenId;
}
