/** The paths that concern the whole mesh: its status, its store, and whether this control plane is well. */
import { filterSteps, inSlices, pauses } from "../../../core/slices.ts";
import { activeFaults } from "../../faults.ts";
import { refusal } from "../access.ts";
import type { Api } from "../api.ts";
import { principalOf } from "../authentication.ts";
import { JSON_TYPE } from "../bodies.ts";
import { answers } from "../documentation.ts";
import { ApiError } from "../errors.ts";
import { sendLong } from "../long-list.ts";
import type { ApiOptions } from "../options.ts";
import { jsonBody, needAdmin, NO_QUERY } from "./route-parts.ts";
import {
  ACCEPT_BODY,
  HEALTH,
  MESH_STATUS,
  STORE_BODY,
  type AcceptBody,
  type StoreBody,
} from "../schemas.ts";
import { addSidecarRoutes } from "./sidecar-routes.ts";
import { addTokenRoutes } from "./token-routes.ts";

export function addMeshRoutes(api: Api, options: ApiOptions): void {
  addStatus(api, options);
  addTokenRoutes(api, options);
  addStore(api, options);
  addHealth(api, options);
  addSidecarRoutes(api, options);
}

function addStatus(api: Api, options: ApiOptions): void {
  const { clock, push, trustDomain } = options;
  api.get(
    "/status",
    {
      config: { long: true },
      schema: {
        tags: ["mesh"],
        operationId: "getMeshStatus",
        summary: "Every sidecar: what it has in force, what it refused and why",
        querystring: NO_QUERY,
        response: answers({ 200: MESH_STATUS }, 429),
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const mayRead = ({
        namespace,
      }: {
        readonly namespace: string;
      }): boolean => refusal(principal, "read", namespace) === undefined;
      const pause = pauses(clock);
      const unconfirmed = await options.unconfirmed();
      const body = {
        now: clock.wall(),
        trustDomain,
        store: await storeBody(options),
        sidecars: await inSlices(
          filterSteps(await push.status(), mayRead),
          pause,
        ),
        unconfirmed: unconfirmed
          .filter(([workload]) =>
            mayRead({ namespace: workload.split("/")[0] ?? "" }),
          )
          .map(([workload, facts]) => ({ workload, ...facts })),
        faults: (await activeFaults(options.store, clock.wall())).filter(
          mayRead,
        ),
        statistics: push.statistics(),
      };
      return sendLong(reply, body, "sidecars", clock);
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
        response: answers({ 200: STORE_BODY }, 429),
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
  api.get("/openapi.json", { config, schema: { hide: true } }, (_, reply) => {
    document ??= JSON.stringify(api.swagger());
    return reply.type(JSON_TYPE).send(document);
  });
}

const PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";
/** Milliseconds that one rendering is good for: anybody may ask for it. */
const METRICS_KEPT = 1000;

/** Open as the health checks are: no label names anything of the mesh. */
function addMetrics(
  api: Api,
  options: ApiOptions,
  config: { readonly open: boolean; readonly untraced: boolean },
): void {
  const { clock } = options;
  let at = Number.NEGATIVE_INFINITY;
  let text = Promise.resolve("");
  api.get("/metrics", { config, schema: { hide: true } }, async (_, reply) => {
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
