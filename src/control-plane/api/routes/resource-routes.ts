/** The paths of every kind: `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME]`. */
import type { FastifyReply, FastifyRequest } from "fastify";
import Type, { type TSchema } from "typebox";
import type { KindDefinition } from "../../../resources/kind.ts";
import { KINDS } from "../../../resources/registry.ts";
import {
  CLOSED,
  DNS_LABEL,
  DNS_NAME,
} from "../../../resources/schema-parts.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Api } from "../api.ts";
import { authorIn, principalOf } from "../rights/authentication.ts";
import { JSON_TYPES, YAML_TYPES } from "../bodies.ts";
import type { Callers } from "../rights/callers.ts";
import { answers } from "../documentation.ts";
import { MOST_TERMS } from "../label-selector.ts";
import { sendLong } from "../long-list.ts";
import { isWatch } from "../reads.ts";
import type { ApiOptions } from "../options.ts";
import {
  ResourceHandlers,
  type Target,
  type Written,
} from "./resource-handlers.ts";
import { DRY_RUN, fieldsOf } from "./route-parts.ts";
import { watch } from "./watch-route.ts";
import { STATUS } from "../schemas.ts";

const WRITE_QUERY: TSchema = Type.Object(DRY_RUN, CLOSED);

const DELETE_WORKLOAD_QUERY: TSchema = Type.Object(
  {
    ...DRY_RUN,
    deregisterOnly: Type.Optional(
      Type.Literal("true", {
        description:
          "the instance that registered it keeps its certificate, and may register again",
      }),
    ),
  },
  CLOSED,
);

const LIST_QUERY: TSchema = Type.Object(
  {
    labelSelector: Type.Optional(
      Type.String({
        maxLength: 4096,
        description: `such as "app=web,version!=v1"; at most ${MOST_TERMS} terms, with the values of sets`,
      }),
    ),
    watch: Type.Optional(
      Type.Union(
        ["0", "1", "false", "true"].map((text) => Type.Literal(text)),
        { description: "respond with changes, one JSON object a line" },
      ),
    ),
    resourceVersion: Type.Optional(
      Type.String({
        pattern: "^[0-9]{1,15}$",
        description:
          "watch what came after this version; without it, first all that is there",
      }),
    ),
    allowWatchBookmarks: Type.Optional(
      Type.Union(
        ["0", "1", "false", "true"].map((text) => Type.Literal(text)),
        { description: "say from time to time how far the watch has come" },
      ),
    ),
    timeoutSeconds: Type.Optional(
      Type.String({
        pattern: "^[1-9][0-9]{0,5}$",
        description:
          "end the watch after so long; without it, when the client goes",
      }),
    ),
  },
  CLOSED,
);

const NAMESPACE = { namespace: Type.String(DNS_LABEL) };
const NAME = { name: Type.String(DNS_NAME) };

/** `closing` aborts when the API stops: watches end then. */
export function addResourceRoutes(
  api: Api,
  options: ApiOptions,
  closing: AbortSignal,
): void {
  for (const definition of KINDS) {
    const { group, version, plural, namespaced } = definition;
    const base = `/apis/${group}/${version}`;
    const home = namespaced
      ? `${base}/namespaces/:namespace/${plural}`
      : `${base}/${plural}`;
    if (namespaced)
      addList(api, options, definition, `${base}/${plural}`, closing, {});
    const inNamespace = namespaced ? NAMESPACE : {};
    addList(api, options, definition, home, closing, inNamespace);
    addCreate(api, options, definition, home, inNamespace);
    addItem(api, options, definition, `${home}/:name`, {
      ...inNamespace,
      ...NAME,
    });
  }
}

type Properties = Readonly<Record<string, TSchema>>;

function addList(
  api: Api,
  options: ApiOptions,
  definition: KindDefinition,
  url: string,
  closing: AbortSignal,
  params: Properties,
): void {
  const { kind } = definition;
  const handlers = new ResourceHandlers(options, definition);
  const everywhere = definition.namespaced && !("namespace" in params);
  api.get(
    url,
    {
      config: {
        callers: everywhere ? "readers-of-all" : readersOf(definition),
        long: true,
      },
      schema: {
        tags: [kind],
        operationId: `list${kind}${everywhere ? "InAllNamespaces" : ""}`,
        summary: `List ${definition.plural}, or watch them`,
        ...(everywhere ? {} : paramsSchema(params)),
        querystring: LIST_QUERY,
        response: answers(
          {
            200: {
              description: `the ${definition.plural}; with watch=1, changes one a line`,
              content: {
                "application/json": { schema: { $ref: `${kind}List#` } },
                "application/jsonl": { schema: { $ref: `${kind}Event#` } },
              },
            },
          },
          410,
          429,
        ),
      },
    },
    async (request, reply) => {
      const target = targetOf(request);
      if (isWatch(request))
        return watch(options, definition, target, closing, request, reply);
      const selector = fieldsOf(request.query)["labelSelector"];
      const { list, complete } = await handlers.list(target, selector);
      return sendLong(reply, list, "items", options.clock, complete);
    },
  );
}

function addCreate(
  api: Api,
  options: ApiOptions,
  definition: KindDefinition,
  url: string,
  params: Properties,
): void {
  const { kind } = definition;
  const handlers = new ResourceHandlers(options, definition);
  api.post(
    url,
    {
      config: { callers: writersOf(definition) },
      schema: {
        tags: [kind],
        operationId: `create${kind}`,
        summary: `Create a ${kind}`,
        ...paramsSchema(params),
        querystring: WRITE_QUERY,
        body: contentOf([JSON_TYPES[0] ?? "", ...YAML_TYPES], `${kind}#`),
        response: answers({ 201: one(kind, "created") }, 409, 413, 415, 422),
      },
    },
    writing((target, body, dryRun) => handlers.create(target, body, dryRun)),
  );
}

/** The path of one resource of a kind, and what its routes share. */
interface Item {
  readonly api: Api;
  readonly url: string;
  readonly definition: KindDefinition;
  readonly handlers: ResourceHandlers;
  readonly common: object;
}

function addItem(
  api: Api,
  options: ApiOptions,
  definition: KindDefinition,
  url: string,
  params: Properties,
): void {
  const handlers = new ResourceHandlers(options, definition);
  const common = { tags: [definition.kind], ...paramsSchema(params) };
  const item: Item = { api, url, definition, handlers, common };
  addGet(item);
  addReplace(item);
  addPatch(item);
  addDelete(item);
}

function addGet({ api, url, definition, handlers, common }: Item): void {
  const { kind } = definition;
  api.get(
    url,
    {
      config: { callers: readersOf(definition) },
      schema: {
        ...common,
        operationId: `get${kind}`,
        summary: `Get a ${kind} with its conditions`,
        querystring: Type.Object({}, CLOSED),
        response: answers({ 200: one(kind, "as it is") }, 429),
      },
    },
    (request) => handlers.get(targetOf(request)),
  );
}

function addReplace({ api, url, definition, handlers, common }: Item): void {
  const { kind } = definition;
  api.put(
    url,
    {
      config: { callers: writersOf(definition) },
      schema: {
        ...common,
        operationId: `replace${kind}`,
        summary: `Create or replace a ${kind}; with metadata.resourceVersion, only that version`,
        querystring: WRITE_QUERY,
        body: contentOf([JSON_TYPES[0] ?? "", ...YAML_TYPES], `${kind}#`),
        response: answers(
          { 200: one(kind, "replaced"), 201: one(kind, "created") },
          409,
          413,
          415,
          422,
        ),
      },
    },
    writing((target, body, dryRun) => handlers.replace(target, body, dryRun)),
  );
}

function addPatch({ api, url, definition, handlers, common }: Item): void {
  const { kind } = definition;
  api.patch(
    url,
    {
      config: { callers: writersOf(definition) },
      schema: {
        ...common,
        operationId: `patch${kind}`,
        summary: `Change a ${kind} by JSON merge patch (RFC 7396)`,
        querystring: WRITE_QUERY,
        body: {
          content: Object.fromEntries(
            JSON_TYPES.map((type) => [
              type,
              { schema: Type.Object({}, { description: "what changes" }) },
            ]),
          ),
        },
        response: answers({ 200: one(kind, "patched") }, 409, 413, 415, 422),
      },
    },
    writing((target, body, dryRun) => handlers.patch(target, body, dryRun)),
  );
}

function addDelete({ api, url, definition, handlers, common }: Item): void {
  const { kind } = definition;
  api.delete(
    url,
    {
      config: { callers: writersOf(definition) },
      schema: {
        ...common,
        operationId: `delete${kind}`,
        summary: `Delete a ${kind}`,
        querystring:
          kind === WORKLOAD.kind ? DELETE_WORKLOAD_QUERY : WRITE_QUERY,
        response: answers({ 200: STATUS }, 409),
      },
    },
    async (request, reply) => {
      const { status, warnings } = await handlers.remove(targetOf(request), {
        dryRun: isDryRun(request),
        stays: fieldsOf(request.query)["deregisterOnly"] !== undefined,
      });
      return withWarnings(reply, warnings).send(status);
    },
  );
}

/** Everybody lives under the resources of the whole mesh, so everybody may read them. */
function readersOf({ namespaced }: KindDefinition): Callers {
  return namespaced ? "namespace-readers" : "any-token";
}

function writersOf({ namespaced }: KindDefinition): Callers {
  return namespaced ? "namespace-writers" : "mesh-writers";
}

/** A route that writes a resource, and responds with it and the warnings. */
function writing(
  write: (target: Target, body: unknown, dryRun: boolean) => Promise<Written>,
): (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> {
  return async (request, reply) =>
    answer(
      reply,
      await write(targetOf(request), request.body, isDryRun(request)),
    );
}

/** Clients take 16 KiB of headers at most, and a person reads fewer. */
const MOST_WARNINGS = 20;

function answer(reply: FastifyReply, written: Written): FastifyReply {
  return withWarnings(reply, written.warnings)
    .code(written.created ? 201 : 200)
    .send(written.resource);
}

/** RFC 7234 5.5, 299: what a client should show to the author. */
function withWarnings(
  reply: FastifyReply,
  texts: readonly string[],
): FastifyReply {
  const warnings = texts
    .slice(0, MOST_WARNINGS)
    .map((text) => `299 - ${quoted(text)}`);
  if (warnings.length > 0) reply.header("warning", warnings.join(", "));
  return reply;
}

/** A quoted-string of visible ASCII; a header can hold nothing else. */
function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 400).replaceAll(/[^\x20-\x7e]/g, "?"));
}

function targetOf(request: FastifyRequest): Target {
  const params = fieldsOf(request.params);
  return {
    principal: principalOf(request),
    author: () => authorIn(request),
    namespace: params["namespace"],
    name: params["name"],
  };
}

function isDryRun(request: FastifyRequest): boolean {
  return fieldsOf(request.query)["dryRun"] !== undefined;
}

function paramsSchema(properties: Properties): { params?: TSchema } {
  return Object.keys(properties).length === 0
    ? {}
    : { params: Type.Object(properties) };
}

function contentOf(types: readonly string[], $ref: string): object {
  return {
    content: Object.fromEntries(
      types.map((type) => [type, { schema: { $ref } }]),
    ),
  };
}

function one(kind: string, what: string): object {
  return { $ref: `${kind}#`, description: `the ${kind}, ${what}` };
}
