/** What a path has no route for is 405, with the methods that it has. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { METHODS, type Api } from "./api.ts";
import { ApiError } from "./errors.ts";

/** The methods of each path that has routes; before any is added. */
export function collectMethods(api: Api): Map<string, Set<string>> {
  const methods = new Map<string, Set<string>>();
  api.addHook("onRoute", ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    methods.set(url, known);
    for (const one of [method].flat()) known.add(one);
  });
  return methods;
}

/** After all routes: 405 with what the path has. */
export function refuseOtherMethods(
  api: Api,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  // A copy: each route added here would be seen too.
  for (const [url, known] of [...methods]) {
    const allowed = [...known].sort().join(", ");
    const refuse = (request: FastifyRequest, reply: FastifyReply): never => {
      reply.header("allow", allowed);
      throw new ApiError(
        "MethodNotAllowed",
        `${request.method} is not possible here; ${allowed} are`,
      );
    };
    api.route({
      url,
      method: METHODS.filter((method) => !known.has(method)),
      config: { callers: "any-token" },
      schema: { hide: true },
      // Before the body is looked at: what it holds does not matter here.
      onRequest: (request, reply) => refuse(request, reply),
      handler: refuse,
    });
  }
}
