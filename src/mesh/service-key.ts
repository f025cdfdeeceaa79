/** How a Service and its ports are named: in Host fields, on the link, in metrics and logs, and as keys. */
import type { ServiceKey } from "../core/units.ts";

/** "reviews.shop", the name by which callers know it. */
export function serviceHost(name: string, namespace: string): string {
  return `${name}.${namespace}`;
}

/** "reviews.shop:80", one port of a Service. */
export function serviceKey(
  name: string,
  namespace: string,
  port: number,
): ServiceKey {
  return `${serviceHost(name, namespace)}:${port}`;
}
