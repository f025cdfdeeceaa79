/** The API as its parts see it: the server that routes and hooks are added to, and the methods that it knows. */
import type {
  FastifyContextConfig,
  FastifyInstance,
  RouteHandlerMethod,
  RouteOptions,
  RouteShorthandOptions,
} from "fastify";
import { CALLERS, type Callers } from "./rights/callers.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The tokens with which the route may be called. */
    readonly callers: Callers;
  }
}

interface Judged {
  readonly config: FastifyContextConfig;
}

type AddRoute = (
  url: string,
  options: RouteShorthandOptions & Judged,
  handler: RouteHandlerMethod,
) => unknown;

type Adding = "get" | "post" | "put" | "patch" | "delete";
type OtherAdding = "head" | "options" | "trace" | "all" | "route";

/** A route cannot be added without its callers. */
export type Api = Omit<FastifyInstance, Adding | OtherAdding> &
  Readonly<Record<Adding, AddRoute>> & {
    route(options: RouteOptions & Judged): unknown;
  };

export const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "QUERY",
] as const;

/** Before any route is added. Throws at the start where one has no callers, whatever its types say. */
export function requireCallers(api: Api): void {
  api.addHook("onRoute", ({ method, url, config }) => {
    const callers: unknown = config?.callers;
    if (typeof callers !== "string" || !Object.hasOwn(CALLERS, callers))
      throw new Error(
        `${[method].flat().join(", ")} ${url} has no callers: give config.callers`,
      );
  });
}
