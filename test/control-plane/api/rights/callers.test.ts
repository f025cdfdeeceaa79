/** Who may call each route of the OpenAPI document: a real server, every operation, every role and every token that is none. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fastify from "fastify";
import t from "tap";
import { Agent, request as call } from "undici";
import { parseAllDocuments } from "yaml";
import { requireCallers } from "../../../../src/control-plane/api/api.ts";
import { startApi } from "../../../../src/control-plane/api/server.ts";
import {
  createApiToken,
  newTokenText,
  revokeToken,
  type Role,
} from "../../../../src/control-plane/tokens.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { KINDS } from "../../../../src/resources/registry.ts";
import { clientAuthority } from "../../../support/certificates/client-authority.ts";
import { rig, type Rig } from "../../../support/control-plane/api.ts";

const EXAMPLES = join(import.meta.dirname, "../../../../config/examples/kinds");
const NAMESPACE = "shop";
const ROOT = "wherry-system";

/** Whose token it is: bound to the namespace of the path, to another, or to none. */
interface Holder {
  readonly role: Role;
  readonly bound: "none" | "own" | "other";
}

const HOLDERS: readonly Holder[] = (
  ["admin", "editor", "viewer"] as const
).flatMap((role) =>
  (["none", "own", "other"] as const).map((bound) => ({ role, bound })),
);

const isFullAdmin = ({ role, bound }: Holder): boolean =>
  role === "admin" && bound === "none";

/** The specification: who passes, by what the document says of an operation. */
const ALLOWED: Readonly<
  Record<string, (holder: Holder, namespace: string) => boolean>
> = {
  "any-token": () => true,
  "namespace-readers": ({ bound }, namespace) =>
    namespace === ROOT || bound !== "other",
  "readers-of-all": ({ bound }) => bound === "none",
  "namespace-writers": (holder, namespace) =>
    namespace === ROOT
      ? isFullAdmin(holder)
      : holder.role !== "viewer" && holder.bound !== "other",
  "mesh-writers": isFullAdmin,
  "list-writers": ({ role }) => role !== "viewer",
  administrators: isFullAdmin,
};

/** The same of operations, so that none changes hands unseen: the first that matches. */
const CALLERS: readonly (readonly [RegExp, string])[] = [
  [/^GET \/(livez|readyz|metrics|openapi\.json)$/, "anybody"],
  [/^GET \/(audit|status|status\/(plaintext|egress)|store)$/, "any-token"],
  [/^GET \/apis\/[^ ]*\/(meshes|revocations)(\/\{name\})?$/, "any-token"],
  [
    /^(POST|PUT|PATCH|DELETE) \/apis\/[^ ]*\/(meshes|revocations)/,
    "mesh-writers",
  ],
  [/^GET \/apis\/[^ ]*\/namespaces\/\{namespace\}\//, "namespace-readers"],
  [/^GET \/apis\//, "readers-of-all"],
  [/^(POST|PUT|PATCH|DELETE) \/apis\/[^ ]*\/namespaces\//, "namespace-writers"],
  [/^GET \/sidecars\/\{namespace\}\//, "namespace-readers"],
  [/^POST \/(apply|delete)$/, "list-writers"],
  // Whatever else there is concerns the whole mesh.
  [/^/, "administrators"],
];

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly callers: string;
  readonly security: readonly unknown[] | undefined;
  readonly statuses: readonly string[];
}

void t.test(
  "a route that does not say who may call it ends the start",
  async (t) => {
    for (const config of [undefined, {}, { callers: "everybody" }]) {
      const api = fastify();
      requireCallers(api);
      t.throws(
        () =>
          api.get(
            "/new",
            (config === undefined ? {} : { config }) as never,
            () => "",
          ),
        { message: /GET \/new has no callers/ },
        JSON.stringify(config),
      );
      await api.close();
    }
  },
);

void t.test("every operation lets in whom its row names", async (t) => {
  const world = await rig(t);
  const api = await startApi(world.options, { host: "127.0.0.1", port: 0 });
  t.teardown(() => api.close());
  const shown = await certificates(t, world);
  const operations = await read(api.url);
  const samples = await prepare(world);
  const strangers = await notTokens(world);
  const tokens = await Promise.all(
    HOLDERS.map(async (holder) => ({
      holder,
      ...(await tokenOf(world, holder)),
    })),
  );
  for (const operation of operations) {
    const { method, path, callers } = operation;
    const title = `${method} ${path}`;
    const [, expected] = CALLERS.find(([of]) => of.test(title)) ?? [];
    t.equal(callers, expected, `${title}: its callers`);
    const open = callers === "anybody";
    t.same(operation.security, open ? [] : undefined, `${title}: security`);
    t.equal(operation.statuses.includes("401"), !open, `${title}: 401`);
    t.equal(
      operation.statuses.includes("403"),
      !open && callers !== "any-token",
      `${title}: 403`,
    );
    for (const namespace of path.includes("{namespace}")
      ? [NAMESPACE, ROOT]
      : [NAMESPACE]) {
      const send = async (
        authorization: string | undefined,
        by: Shown = { url: api.url },
      ): Promise<number> => {
        const { url, dispatcher } = by;
        const request = await samples(operation, namespace);
        const { statusCode, body } = await call(`${url}${request.path}`, {
          method: method as "GET",
          ...(dispatcher === undefined ? {} : { dispatcher }),
          headers: {
            ...(authorization === undefined ? {} : { authorization }),
            ...(request.body === undefined
              ? {}
              : { "content-type": "application/json" }),
          },
          body:
            request.body === undefined ? null : JSON.stringify(request.body),
          // A connection of its own: none has proven anything before. With a certificate, each has.
          reset: dispatcher === undefined,
        });
        await body.dump();
        return statusCode;
      };
      for (const [what, authorization] of strangers)
        t.equal(
          await send(authorization),
          open ? 200 : 401,
          `${title}: ${what}`,
        );
      for (const { holder, authorization } of tokens) {
        const allowed = open || ALLOWED[callers]?.(holder, namespace) === true;
        const status = await send(authorization);
        const wanted = !allowed
          ? 403
          : (moreThanTheRow(operation, holder) ??
            success(operation, namespace));
        const certified = await send(undefined, shown.of(holder));
        for (const [by, found] of [
          ["a token", status],
          ["a certificate", certified],
        ] as const)
          t.equal(
            found < 300 && wanted === "success" ? "success" : found,
            wanted,
            `${title} in ${namespace}: ${holder.role} bound to ${holder.bound}, by ${by}`,
          );
      }
    }
  }
});

/** How a request is sent: where to, and with which certificate. */
interface Shown {
  readonly url: string;
  readonly dispatcher?: Agent;
}

/** The same API over TLS, with a certificate for each holder. */
async function certificates(
  t: Parameters<typeof rig>[0],
  { options, clock }: Rig,
): Promise<{ readonly of: (holder: Holder) => Shown }> {
  const authority = clientAuthority(clock.wall());
  const server = authority.issue({ commonName: "api", forServers: true });
  const nameOf = ({ role, bound }: Holder): string => `${role}-${bound}`;
  const api = await startApi(options, {
    ...{ host: "127.0.0.1", port: 0 },
    tls: {
      ...{ certificate: server.cert, privateKey: server.key },
      clients: {
        authorities: authority.bundle,
        roles: HOLDERS.map((holder) => ({
          ...{ name: `CN=${nameOf(holder)}`, role: holder.role },
          ...(holder.bound === "none"
            ? {}
            : { namespaces: [holder.bound === "own" ? NAMESPACE : "infra"] }),
        })),
      },
    },
  });
  const agents = new Map(
    HOLDERS.map((holder) => {
      const own = authority.issue({ commonName: nameOf(holder) });
      const connect = { rejectUnauthorized: false, ...own };
      return [nameOf(holder), new Agent({ connect })];
    }),
  );
  t.teardown(async () => {
    for (const agent of agents.values()) await agent.close();
    await api.close();
  });
  return {
    of(holder) {
      const dispatcher = agents.get(nameOf(holder));
      if (dispatcher === undefined)
        throw new Error("a holder without an agent");
      return { url: api.url, dispatcher };
    },
  };
}

/** What the reference says below the table: of the row's callers, these are refused too. */
function moreThanTheRow({ id }: Operation, holder: Holder): 403 | undefined {
  if (id === "deleteMesh") return 403;
  return id === "createWorkload" && !isFullAdmin(holder) ? 403 : undefined;
}

/** The samples are in one namespace, there is a Mesh already, and an address belongs to one Workload. */
function success(
  { id, method }: Operation,
  namespace: string,
): number | "success" {
  if (namespace === ROOT && /^(create|replace)Workload$/.test(id)) return 422;
  if (id === "createMesh") return 409;
  return namespace === ROOT &&
    !/^(list|create|replace)/.test(id) &&
    method !== "POST"
    ? 404
    : "success";
}

async function read(url: string): Promise<readonly Operation[]> {
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    readonly paths: Readonly<
      Record<
        string,
        Readonly<
          Record<
            string,
            {
              readonly operationId: string;
              readonly "x-wherry-callers": string;
              readonly security?: readonly unknown[];
              readonly responses: object;
            }
          >
        >
      >
    >;
  };
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      id: operation.operationId,
      callers: operation["x-wherry-callers"],
      security: operation.security,
      statuses: Object.keys(operation.responses),
    })),
  );
}

async function tokenOf(
  { store, clock }: Rig,
  { role, bound }: Holder,
): Promise<{ readonly authorization: string }> {
  const { token } = await createApiToken(store, clock, {
    role,
    ...(bound === "none"
      ? {}
      : { namespaces: [bound === "own" ? NAMESPACE : "infra"] }),
  });
  return { authorization: `Bearer ${token}` };
}

/** No token, and texts that are none any more or never were. */
async function notTokens({
  store,
  clock,
}: Rig): Promise<readonly (readonly [string, string | undefined])[]> {
  const expiring = await createApiToken(store, clock, {
    role: "admin",
    ttl: 1,
  });
  clock.advance(1);
  const revoked = await createApiToken(store, clock, { role: "admin" });
  await revokeToken(store, "ApiToken", revoked.id);
  return [
    ["no token", undefined],
    ["malformed", "Bearer nonsense"],
    ["unknown", `Bearer ${newTokenText()}`],
    ["expired", `Bearer ${expiring.token}`],
    ["revoked", `Bearer ${revoked.token}`],
    [
      "another scheme",
      `Basic ${Buffer.from("admin:admin").toString("base64")}`,
    ],
  ];
}

type Samples = (
  operation: Operation,
  namespace: string,
) => Promise<{ readonly path: string; readonly body?: unknown }>;

const BODIES: Readonly<Record<string, (world: Rig) => unknown>> = {
  createEnrolmentToken: () => ({ namespace: NAMESPACE, serviceAccount: "web" }),
  createApiToken: () => ({ role: "viewer" }),
  acceptStore: ({ store }) => ({ id: store.id }),
  rotateRoot: () => ({}),
  applyResources: () => ({ items: [] }),
  deleteResources: () => ({ items: [] }),
};

/** A mesh with an example of every kind, and a request for each operation that is right in itself and changes nothing of it. */
async function prepare(world: Rig): Promise<Samples> {
  const examples = readExamples(world);
  const applied = await world.call("POST", "/apply", {
    items: [...examples.values()].flat(),
  });
  if (applied.code !== 200) throw new Error(applied.text);
  world.world.sidecars = [SIDECAR];
  world.world.config = { revision: 1, resources: [], latest: true } as never;
  return async ({ id, path, method }, namespace) => {
    const kind = KINDS.find(
      (each) =>
        path.includes(`/${each.group}/${each.version}/`) &&
        new RegExp(`/${each.plural}(/|$)`).test(path),
    );
    const example = examples.get(kind?.kind ?? "")?.[0];
    const filled = path
      .replace("{namespace}", namespace)
      .replace("{name}", example?.metadata.name ?? SIDECAR.name)
      .replace("{id}", await expendable(world, id));
    if (kind === undefined || example === undefined) {
      const body = BODIES[id]?.(world);
      if (body === undefined && method !== "GET" && method !== "DELETE")
        throw new Error(`${id}: give a sample of its body in BODIES`);
      return body === undefined ? { path: filled } : { path: filled, body };
    }
    if (method === "GET") return { path: filled };
    const tried = `${filled}?dryRun=All`;
    if (method === "DELETE") return { path: tried };
    if (method === "PATCH") return { path: tried, body: {} };
    const { namespace: _namespace, ...metadata } = example.metadata;
    const name =
      method === "POST" && id !== "createMesh"
        ? `${metadata.name}-2`
        : metadata.name;
    return {
      path: tried,
      body: { ...example, metadata: { ...metadata, name } },
    };
  };
}

/** A token that there is to revoke. */
async function expendable({ call }: Rig, operation: string): Promise<string> {
  if (!operation.startsWith("revoke")) return "none";
  const kind = operation === "revokeApiToken" ? "api" : "enrolment";
  const made = await call("POST", `/tokens/${kind}`, {
    ...(kind === "api"
      ? { role: "viewer" }
      : { namespace: NAMESPACE, serviceAccount: "web" }),
  });
  return String(made.body["id"]);
}

const SIDECAR = {
  name: "web-1",
  namespace: NAMESPACE,
  serviceAccount: "web",
  labels: {},
  identity: "spiffe://cluster.local/ns/shop/sa/web",
  connected: true,
  connectedSince: 1,
  peer: "127.0.0.1:1",
  pending: false,
  certificateSerial: "A1",
  certificateExpiresAt: 2,
  trust: { root: "", issuedAt: 0 },
  agent: { version: "0.1.0", schema: 1 },
} as const;

/** By kind. A fault lasts a day at most. */
function readExamples({ clock }: Rig): ReadonlyMap<string, Resource[]> {
  const all = readdirSync(EXAMPLES).flatMap((file) =>
    parseAllDocuments(readFileSync(join(EXAMPLES, file), "utf8")).map(
      (document) => document.toJS() as Resource<Record<string, unknown>>,
    ),
  );
  for (const { kind, spec } of all)
    if (kind === "FaultInjection")
      spec["expiresAt"] = new Date(clock.wall() + 3_600_000).toISOString();
  return Map.groupBy<string, Resource>(all, ({ kind }) => kind);
}
