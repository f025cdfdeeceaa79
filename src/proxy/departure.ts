/** What is remembered of one call that leaves the mesh, or would: where it goes, by which Service, and what it says of itself. */
import type { ServerStream } from "../wire/exchange.ts";
import {
  parseAuthority,
  type LocalUpstream,
  type Where,
} from "./destination.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";
import type { Departure } from "./observation/departures.ts";

/** The call as one that leaves the mesh, or would; undefined where it does not. `plan`: how it goes; undefined: nowhere. */
export function departureOf(
  where: Where,
  plan: Pick<RoutePlan, "external"> | undefined,
  { head, connection }: Pick<ServerStream, "head" | "connection">,
  upstream: LocalUpstream | undefined,
): Departure | undefined {
  if (where.kind === "mesh") {
    const service = plan?.external;
    if (service === undefined) return undefined;
    const host =
      upstream?.host ??
      saidHost(head, connection) ??
      connection.originalDestination?.address ??
      "";
    const { port } = where.destination.port;
    return { verdict: "external", service, host, port, name: "" };
  }
  const verdict = where.kind === "refused" ? "refused" : "passed";
  const place = where.kind === "refused" ? where.outside : plan && where;
  if (place === undefined) return undefined;
  const { host, port } = place;
  const said = saidHost(head, connection) ?? "";
  const name = said === host ? "" : said;
  return { verdict, service: "", host, port, name };
}

/** The host that a request, or the application's own TLS, names. */
function saidHost(
  head: ServerStream["head"],
  { serverName }: ServerStream["connection"],
): string | undefined {
  return serverName ?? parseAuthority(head.authority)?.host;
}

/** A copy that a route makes, with the Host of the request. */
export function copyOf(
  service: string,
  authority: string,
  port: number,
): Departure {
  const host = parseAuthority(authority)?.host ?? "";
  return { verdict: "external", service, host, port, name: "" };
}
