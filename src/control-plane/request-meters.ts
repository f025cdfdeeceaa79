/** Counts the API's requests by the route that was found for them: what a caller writes never becomes a label. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../core/clock.ts";
import { METHODS, type Api } from "./api/api.ts";
import { isWatch } from "./api/reads.ts";
import type { ApiMeters } from "./meters.ts";

/** Before the hooks that may refuse a request, so that refusals are counted too. */
export function meterRequests(
  api: Api,
  clock: Clock,
  meters: Omit<ApiMeters, "shed">,
): void {
  api.addHook("onRequest", (request, reply, done) => {
    const startedAt = clock.now();
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      count(meters, request, reply, (clock.now() - startedAt) / 1000);
    };
    reply.raw.once("finish", end);
    reply.raw.once("close", end);
    done();
  });
}

function count(
  { requests, duration }: Omit<ApiMeters, "shed">,
  request: FastifyRequest,
  { raw }: FastifyReply,
  seconds: number,
): void {
  const { url: route = "none" } = request.routeOptions;
  const methods: readonly string[] = METHODS;
  const method = methods.includes(request.method) ? request.method : "other";
  const status = raw.headersSent ? raw.statusCode : 0;
  requests.with(route, method, String(status)).add();
  if (!isWatch(request)) duration.with(route, method).record(seconds);
}
