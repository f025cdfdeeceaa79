/** The paths of tokens: made, listed without their secrets, revoked. */
import Type from "typebox";
import { durationOf } from "../../../core/duration.ts";
import { canonicalRange } from "../../../core/text/network.ts";
import { ROOT_NAMESPACE, type Resource } from "../../../resources/envelope.ts";
import {
  createEnrolmentToken,
  ENROLMENT_TOKEN,
  type EnrolmentTokenSpec,
} from "../../enrolment/enrolment-token.ts";
import { CONTROL_PLANE_ACCOUNT } from "../../own-credentials.ts";
import {
  API_TOKEN,
  createApiToken,
  revokeToken,
  tokenSweep,
  type ApiTokenSpec,
} from "../../tokens.ts";
import type { Api } from "../api.ts";
import { authorIn } from "../rights/authentication.ts";
import { answers } from "../documentation.ts";
import { ApiError, invalid, success } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { jsonBody, NO_QUERY } from "./route-parts.ts";
import {
  API_TOKEN_BODY,
  ENROLMENT_DEFAULTS,
  ENROLMENT_TOKEN_BODY,
  MADE_TOKEN,
  STATUS,
  TOKEN_LIST,
  type ApiTokenBody,
  type EnrolmentTokenBody,
} from "../schemas.ts";

const MADE = answers({ 201: MADE_TOKEN }, 413, 415, 422);

export function addTokenRoutes(api: Api, options: ApiOptions): void {
  const sweep = tokenSweep(options.store, options.clock);
  addEnrolmentTokens(api, options, sweep);
  addApiTokens(api, options, sweep);
  addList(api, options);
  addRevocation(api, options);
}

function addEnrolmentTokens(
  api: Api,
  options: ApiOptions,
  sweep: () => Promise<void>,
): void {
  const { store, clock, trust } = options;
  api.post(
    "/tokens/enrolment",
    {
      config: { callers: "administrators" },
      schema: {
        tags: ["tokens"],
        operationId: "createEnrolmentToken",
        summary:
          "Make a token with which sidecars enrol under one service account and one set of labels",
        querystring: NO_QUERY,
        body: jsonBody(ENROLMENT_TOKEN_BODY),
        response: MADE,
      },
    },
    async (request, reply) => {
      const body = request.body as EnrolmentTokenBody;
      refuseControlPlane(body);
      const address = options.enrolmentAddress();
      const addresses = body.addresses?.map(rangeOf);
      await sweep();
      const { id, text, expiresAt } = await createEnrolmentToken(
        store,
        clock,
        {
          ...subjectOf(body),
          ...(addresses === undefined ? {} : { addresses }),
          ttl: durationOf(body.ttl ?? ENROLMENT_DEFAULTS.ttl),
          uses: body.uses ?? ENROLMENT_DEFAULTS.uses,
          ...trust.fingerprints,
          ...(address === undefined ? {} : { address }),
        },
        authorIn(request),
      );
      return reply.code(201).send({ id, token: text, expiresAt });
    },
  );
}

function addApiTokens(
  api: Api,
  { store, clock }: ApiOptions,
  sweep: () => Promise<void>,
): void {
  api.post(
    "/tokens/api",
    {
      config: { callers: "administrators" },
      schema: {
        tags: ["tokens"],
        operationId: "createApiToken",
        summary: "Make a token for this API",
        querystring: NO_QUERY,
        body: jsonBody(API_TOKEN_BODY),
        response: MADE,
      },
    },
    async (request, reply) => {
      const { role, namespaces, ttl } = request.body as ApiTokenBody;
      await sweep();
      const token = await createApiToken(
        store,
        clock,
        {
          role,
          ...(namespaces === undefined ? {} : { namespaces }),
          ...(ttl === undefined ? {} : { ttl: durationOf(ttl) }),
        },
        authorIn(request),
      );
      return reply.code(201).send(token);
    },
  );
}

function addList(api: Api, { store }: ApiOptions): void {
  api.get(
    "/tokens",
    {
      config: { callers: "administrators" },
      schema: {
        tags: ["tokens"],
        operationId: "listTokens",
        summary: "The tokens there are, without their secrets",
        querystring: NO_QUERY,
        response: answers({ 200: TOKEN_LIST }, 429),
      },
    },
    async () => {
      const api = await store.list(API_TOKEN);
      const enrolment = await store.list(ENROLMENT_TOKEN);
      return {
        items: [...api.resources, ...enrolment.resources].map(describeToken),
      };
    },
  );
}

function addRevocation(api: Api, { store }: ApiOptions): void {
  for (const [path, kind, name] of [
    ["api", API_TOKEN, "ApiToken"],
    ["enrolment", ENROLMENT_TOKEN, "EnrolmentToken"],
  ] as const)
    api.delete(
      `/tokens/${path}/:id`,
      {
        config: { callers: "administrators" },
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
        const { id } = request.params as { readonly id: string };
        if (!(await revokeToken(store, kind, id, authorIn(request))))
          throw new ApiError("NotFound", `${name} ${id} does not exist`);
        return success(`${name} ${id} revoked`);
      },
    );
}

/** Throws ApiError Invalid: every sidecar would take an instance that enrolled so for the control plane. */
function refuseControlPlane(body: EnrolmentTokenBody): void {
  const { namespace, serviceAccount } = body;
  if (namespace !== ROOT_NAMESPACE || serviceAccount !== CONTROL_PLANE_ACCOUNT)
    return;
  throw invalid("the body", [
    {
      field: "serviceAccount",
      message: `${ROOT_NAMESPACE}/${CONTROL_PLANE_ACCOUNT} is the control plane itself: name another`,
    },
  ]);
}

/** The identity that the token gives. */
function subjectOf({
  namespace,
  serviceAccount,
  labels = {},
  name,
}: EnrolmentTokenBody): Pick<
  EnrolmentTokenSpec,
  "namespace" | "serviceAccount" | "labels" | "name"
> {
  return {
    namespace,
    serviceAccount,
    labels,
    ...(name === undefined ? {} : { name }),
  };
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
    | ApiTokenSpec
    | EnrolmentTokenSpec;
  return {
    kind,
    id: metadata.name,
    ...facts,
    createdAt: metadata.creationTimestamp,
  };
}
