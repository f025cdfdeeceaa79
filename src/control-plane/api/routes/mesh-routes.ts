/** The paths that concern the whole mesh: its status, its store, and whether this control plane is well. */
import type { FastifyContextConfig } from "fastify";
import { filterSteps, inSlices, pauses } from "../../../core/slices.ts";
import { activeFaults } from "../../faults.ts";
import { readsOf } from "../rights/access.ts";
import type { Api } from "../api.ts";
import { recordAct } from "../../audit/audit.ts";
import { authorIn, principalOf } from "../rights/authentication.ts";
import { JSON_TYPE } from "../bodies.ts";
import { answers } from "../documentation.ts";
import { ApiError } from "../errors.ts";
import { sendLong } from "../long-list.ts";
import type { ApiOptions } from "../options.ts";
import { jsonBody, NO_QUERY } from "./route-parts.ts";
import {
  ACCEPT_BODY,
  HEALTH,
  MESH_STATUS,
  STORE_BODY,
  type AcceptBody,
  type StoreBody,
} from "../schemas.ts";
import { addObservedRoutes } from "./observed-routes.ts";
import { addAuditRoute } from "./audit-route.ts";
import { addSidecarRoutes } from "./sidecar-routes.ts";
import { addTokenRoutes } from "./token-routes.ts";

export function addMeshRoutes(api: Api, options: ApiOptions): void {
  addStatus(api, options);
  addTokenRoutes(api, options);
  addStore(api, options);
  addHealth(api, options);
  addSidecarRoutes(api, options);
  addObservedRoutes(api, options);
  addAuditRoute(api, options);
}

function addStatus(api: Api, options: ApiOptions): void {
  const { clock, push, trustDomain } = options;
  api.get(
    "/status",
    {
      config: { callers: "any-token", long: true },
      schema: {
        tags: ["mesh"],
        operationId: "getMeshStatus",
        summary: "Every sidecar: what it has in force, what it refused and why",
        querystring: NO_QUERY,
        response: answers({ 200: MESH_STATUS }, 429),
      },
    },
    async (request, reply) => {
      const mayRead = readsOf(principalOf(request));
      const pause = pauses(clock);
      const unconfirmed = await options.unconfirmed();
      const body = {
        now: clock.wall(),
        trustDomain,
        store: await storeBody(options),
        sidecars: await inSlices(
          filterSteps(await push.instances(), (instance) =>
            mayRead({ namespace: namespaceIn(instance) }),
          ),
          pause,
        ),
        unconfirmed: unconfirmed
          .filter(([workload]) => mayRead({ namespace: namespaceIn(workload) }))
          .map(([workload, facts]) => ({ workload, ...facts })),
        faults: (await activeFaults(options.store, clock.wall())).filter(
          mayRead,
        ),
        statistics: push.statistics(),
      };
      return sendLong(reply, body, "sidecars", clock, (instance) =>
        Promise.resolve(push.shown(instance)),
      );
    },
  );
}

/** The first part of "NAMESPACE/NAME", whatever is behind it. */
function namespaceIn(path: string): string {
  return path.slice(0, path.indexOf("/"));
}

function addStore(api: Api, options: ApiOptions): void {
  const { store, acceptance, logger } = options;
  api.get(
    "/store",
    {
      config: { callers: "any-token" },
      schema: {
        tags: ["mesh"],
        operationId: "getStore",
        summary: "Which store this control plane serves from",
        querystring: NO_QUERY,
        response: answers({ 200: STORE_BODY }, 429),
      },
    },
    () => storeBody(options),
  );
  api.post(
    "/store/accept",
    {
      config: { callers: "administrators" },
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
      const { id } = request.body as AcceptBody;
      if (id !== store.id)
        throw new ApiError(
          "Conflict",
          `this control plane serves from store ${store.id}, not ${id}: read GET /store and accept that id if its contents are what the mesh shall have`,
        );
      await recordAct(store, authorIn(request), {
        ...{ verb: "accept", kind: "Store", namespace: "", name: id },
      });
      await acceptance.accept();
      logger.warn(
        { store: id, by: principalOf(request).tokenId },
        "an operator told the sidecars to accept this store",
      );
      return storeBody(options);
    },
  );
}

const OPEN: FastifyContextConfig = { callers: "anybody" };
const DOCUMENT = { type: "object", additionalProperties: true };

function addHealth(api: Api, options: ApiOptions): void {
  const probed = { ...OPEN, untraced: true };
  const schema = {
    tags: ["health"],
    querystring: NO_QUERY,
    response: answers({ 200: HEALTH }),
  };
  api.get(
    "/livez",
    {
      config: probed,
      schema: {
        ...schema,
        operationId: "getLiveness",
        summary: "Whether this control plane responds at all",
      },
    },
    () => ({ status: "ok" }),
  );
  api.get(
    "/readyz",
    {
      config: probed,
      schema: {
        ...schema,
        operationId: "getReadiness",
        summary: "Whether this control plane and its store can be used",
      },
    },
    async () => {
      if (!options.isReady())
        throw new ApiError(
          "ServiceUnavailable",
          "this control plane is starting or stopping",
        );
      // The store is what everything else stands on.
      const { store } = options;
      await store.revision();
      if (store.fault !== undefined)
        throw new ApiError("ServiceUnavailable", store.fault);
      return { status: "ok" };
    },
  );
  addMetrics(api, options, probed);
  // Anybody may ask for it: it is put together once.
  let document: string | undefined;
  api.get(
    "/openapi.json",
    {
      config: OPEN,
      schema: {
        ...schema,
        operationId: "getDocument",
        summary: "This document",
        response: answers({ 200: DOCUMENT }),
      },
    },
    (_, reply) => {
      document ??= JSON.stringify(api.swagger());
      return reply.type(JSON_TYPE).send(document);
    },
  );
}

const PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";
/** Milliseconds that one rendering is good for: anybody may ask for it. */
const METRICS_KEPT = 1000;

/** Open as the health checks are: no label names anything of the mesh. */
function addMetrics(
  api: Api,
  options: ApiOptions,
  config: FastifyContextConfig,
): void {
  const { clock } = options;
  let at = Number.NEGATIVE_INFINITY;
  let text = Promise.resolve("");
  const schema = {
    tags: ["health"],
    operationId: "getMetrics",
    summary: "Figures of this control plane, as Prometheus reads them",
    querystring: NO_QUERY,
    response: answers({
      200: {
        description: "Prometheus' text format",
        content: { [PROMETHEUS]: { schema: { type: "string" } } },
      },
    }),
  };
  api.get("/metrics", { config, schema }, async (_, reply) => {
    if (clock.now() - at >= METRICS_KEPT) {
      at = clock.now();
      text = options.metrics();
    }
    return reply.type(PROMETHEUS).send(await text);
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
