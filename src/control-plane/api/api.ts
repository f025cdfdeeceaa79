/** The API as its parts see it: the server that routes and hooks are added to, and the methods that it knows. */
import type { FastifyInstance } from "fastify";

export type Api = FastifyInstance;

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
