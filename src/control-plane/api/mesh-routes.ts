/** The paths that concern the whole mesh: its status, its tokens, its store, and whether this control plane is well. */
import type { FastifyRequest } from "fastify";
import Type from "typebox";
import { durationOf } from "../../core/duration.ts";
import { canonicalRange } from "../../core/text/network.ts";
import { ROOT_NAMESPACE, type Resource } from "../../resources/envelope.ts";
import { CLOSED } from "../../resources/schema-parts.ts";
import {
  createEnrolmentToken,
  ENROLMENT_TOKEN,
  type EnrolmentTokenSpec,
} from "../enrolment-token.ts";
import {
  API_TOKEN,
  createApiToken,
  revokeToken,
  sweepTokens,
  type ApiTokenSpec,
} from "../tokens.ts";
import { activeFaults } from "../faults.ts";
import { CONTROL_PLANE_ACCOUNT } from "../own-credentials.ts";
import { isFullAdmin, refusal } from "./access.ts";
import { principalOf } from "./authentication.ts";
import { JSON_TYPE } from "./bodies.ts";
import { answers } from "./documentation.ts";
import { ApiError, invalid, success } from "./errors.ts";
import type { ApiOptions } from "./options.ts";
import {
  ACCEPT_BODY,
  API_TOKEN_BODY,
  ENROLMENT_DEFAULTS,
  ENROLMENT_TOKEN_BODY,
  HEALTH,
  MADE_TOKEN,
  MESH_STATUS,
  STATUS,
  STORE_BODY,
  TOKEN_LIST,
  type AcceptBody,
  type ApiTokenBody,
  type EnrolmentTokenBody,
  type StoreBody,
} from "./schemas.ts";
import type { Api } from "./server.ts";
import { addSidecarRoutes } from "./sidecar-routes.ts";

const NO_QUERY = Type.Object({}, CLOSED);

export function addMeshRoutes(api: Api, options: ApiOptions): void {
  addStatus(api, options);
  addTokens(api, options);
  addStore(api, options);
  addHealth(api, options);
  addSidecarRoutes(api, options);
}

function addStatus(api: Api, options: ApiOptions): void {
  const { clock, push, trustDomain } = options;
  api.get(
    "/status",
    {
      schema: {
        tags: ["mesh"],
        operationId: "getMeshStatus",
        summary: "Every sidecar: what it has in force, what it refused and why",
        querystring: NO_QUERY,
        response: answers({ 200: MESH_STATUS }),
      },
    },
    async (request) => {
      const principal = principalOf(request);
      return {
        now: clock.wall(),
        trustDomain,
        store: await storeBody(options),
        sidecars: push
          .status()
          .filter(
            ({ namespace }) =>
              refusal(principal, "read", namespace) === undefined,
          ),
        faults: (await activeFaults(options.store, clock.wall())).filter(
          ({ namespace }) =>
            refusal(principal, "read", namespace) === undefined,
        ),
        statistics: push.statistics(),
      };
    },
  );
}

function addTokens(api: Api, options: ApiOptions): void {
  const { store, clock, fingerprint } = options;
  const made = answers({ 201: MADE_TOKEN }, 413, 415, 422);
  api.post(
    "/tokens/enrolment",
    {
      schema: {
        tags: ["tokens"],
        operationId: "createEnrolmentToken",
        summary:
          "Make a token with which sidecars enrol under one service account and one set of labels",
        querystring: NO_QUERY,
        body: jsonBody(ENROLMENT_TOKEN_BODY),
        response: made,
      },
    },
    async (request, reply) => {
      needAdmin(request, "making enrolment tokens");
      const body = request.body as EnrolmentTokenBody;
      if (
        body.namespace === ROOT_NAMESPACE &&
        body.serviceAccount === CONTROL_PLANE_ACCOUNT
      )
        throw invalid("the body", [
          {
            // Whoever enrolled so would be taken for the control plane by every sidecar.
            field: "serviceAccount",
            message: `${ROOT_NAMESPACE}/${CONTROL_PLANE_ACCOUNT} is the control plane itself: name another`,
          },
        ]);
      const addresses = body.addresses?.map(rangeOf);
      const address = options.enrolmentAddress();
      await sweepTokens(store, clock);
      const { id, text, expiresAt } = await createEnrolmentToken(store, clock, {
        namespace: body.namespace,
        serviceAccount: body.serviceAccount,
        labels: body.labels ?? {},
        ...(addresses === undefined ? {} : { addresses }),
        ...(body.name === undefined ? {} : { name: body.name }),
        ttl: durationOf(body.ttl ?? ENROLMENT_DEFAULTS.ttl),
        uses: body.uses ?? ENROLMENT_DEFAULTS.uses,
        ca: fingerprint,
        ...(address === undefined ? {} : { address }),
      });
      return reply.code(201).send({ id, token: text, expiresAt });
    },
  );
  api.post(
    "/tokens/api",
    {
      schema: {
        tags: ["tokens"],
        operationId: "createApiToken",
        summary: "Make a token for this API",
        querystring: NO_QUERY,
        body: jsonBody(API_TOKEN_BODY),
        response: made,
      },
    },
    async (request, reply) => {
      needAdmin(request, "making API tokens");
      const { role, namespaces, ttl } = request.body as ApiTokenBody;
      const token = await createApiToken(store, clock, {
        role,
        ...(namespaces === undefined ? {} : { namespaces }),
        ...(ttl === undefined ? {} : { ttl: durationOf(ttl) }),
      });
      return reply.code(201).send(token);
    },
  );
  api.get(
    "/tokens",
    {
      schema: {
        tags: ["tokens"],
        operationId: "listTokens",
        summary: "The tokens there are, without their secrets",
        querystring: NO_QUERY,
        response: answers({ 200: TOKEN_LIST }),
      },
    },
    async (request) => {
      needAdmin(request, "listing tokens");
      const api = await store.list(API_TOKEN);
      const enrolment = await store.list(ENROLMENT_TOKEN);
      return {
        items: [...api.resources, ...enrolment.resources].map(describeToken),
      };
    },
  );
  for (const [path, kind, name] of [
    ["api", API_TOKEN, "ApiToken"],
    ["enrolment", ENROLMENT_TOKEN, "EnrolmentToken"],
  ] as const)
    api.delete(
      `/tokens/${path}/:id`,
      {
        schema: {
          tags: ["tokens"],
          operationId: `revoke${name}`,
          summary: "Revoke a token at once",
          params: Type.Object({
            id: Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$" }),
          }),
          querystring: NO_QUERY,
          response: answers({ 200: STATUS }),
        },
      },
      async (request) => {
        needAdmin(request, "revoking tokens");
        const { id } = request.params as { readonly id: string };
        if (!(await revokeToken(store, kind, id)))
          throw new ApiError("NotFound", `${name} ${id} does not exist`);
        return success(`${name} ${id} revoked`);
      },
    );
}

function addStore(api: Api, options: ApiOptions): void {
  const { store, acceptance, logger } = options;
  api.get(
    "/store",
    {
      schema: {
        tags: ["mesh"],
        operationId: "getStore",
        summary: "Which store this control plane serves from",
        querystring: NO_QUERY,
        response: answers({ 200: STORE_BODY }),
      },
    },
    () => storeBody(options),
  );
  api.post(
    "/store/accept",
    {
      schema: {
        tags: ["mesh"],
        operationId: "acceptStore",
        summary:
          "Tell sidecars to take this store for their own, after another was lost or an older one came back",
        querystring: NO_QUERY,
        body: jsonBody(ACCEPT_BODY),
        response: answers({ 200: STORE_BODY }, 409, 413, 415, 422),
      },
    },
    async (request) => {
      needAdmin(request, "accepting a store");
      const { id } = request.body as AcceptBody;
      if (id !== store.id)
        throw new ApiError(
          "Conflict",
          `this control plane serves from store ${store.id}, not ${id}: read GET /store and accept that id if its contents are what the mesh shall have`,
        );
      await acceptance.accept();
      logger.warn(
        { store: id, by: principalOf(request).tokenId },
        "an operator told the sidecars to accept this store",
      );
      return storeBody(options);
    },
  );
}

function addHealth(api: Api, options: ApiOptions): void {
  const config = { open: true };
  const probed = { ...config, untraced: true };
  const schema = {
    tags: ["health"],
    querystring: NO_QUERY,
    security: [],
    response: answers({ 200: HEALTH }),
  };
  api.get(
    "/livez",
    { config: probed, schema: { ...schema, operationId: "getLiveness" } },
    () => ({ status: "ok" }),
  );
  api.get(
    "/readyz",
    { config: probed, schema: { ...schema, operationId: "getReadiness" } },
    async () => {
      if (!options.isReady())
        throw new ApiError(
          "ServiceUnavailable",
          "this control plane is starting or stopping",
        );
      // The store is what everything else stands on.
      await options.store.revision();
      return { status: "ok" };
    },
  );
  // Anybody may ask for it: it is put together once.
  let document: string | undefined;
  api.get("/openapi.json", { config, schema: { hide: true } }, (_, reply) => {
    document ??= JSON.stringify(api.swagger());
    return reply.type(JSON_TYPE).send(document);
  });
}

async function storeBody(options: ApiOptions): Promise<StoreBody> {
  const { store, storeKind, acceptance } = options;
  return {
    id: store.id,
    revision: await store.revision(),
    kind: storeKind,
    accepted: acceptance.accepted,
  };
}

function needAdmin(request: FastifyRequest, what: string): void {
  if (!isFullAdmin(principalOf(request)))
    throw new ApiError(
      "Forbidden",
      `${what} needs a token with the role admin and no list of namespaces`,
    );
}

/** Throws ApiError Invalid. */
function rangeOf(text: string, index: number): string {
  const range = canonicalRange(text);
  if (range === undefined)
    throw invalid("the body", [
      {
        field: `addresses[${index}]`,
        message: `invalid address ${JSON.stringify(text)}: expected an IP address or a CIDR range`,
      },
    ]);
  return range;
}

/** Everything of a token but the hash of its secret. */
function describeToken(resource: Resource): object {
  const { kind, metadata } = resource;
  const { hash: _hash, ...facts } = resource.spec as
    ApiTokenSpec | EnrolmentTokenSpec;
  return {
    kind,
    id: metadata.name,
    ...facts,
    createdAt: metadata.creationTimestamp,
  };
}

function jsonBody(schema: object): object {
  return { content: { [JSON_TYPE]: { schema } } };
}
