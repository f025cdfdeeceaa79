/** Which requests are copied to another Service, and under which host: the RequestMirror filter, compiled. */
import {
  DEFAULT_DENOMINATOR,
  type RequestMirror,
} from "../../resources/route-filters/schema.ts";

/** The share of requests that is copied, from 0 to 1; absent percent and fraction mean all. */
export function mirrorShare({ percent, fraction }: RequestMirror): number {
  if (fraction !== undefined)
    return fraction.numerator / (fraction.denominator ?? DEFAULT_DENOMINATOR);
  return percent === undefined ? 1 : percent / 100;
}

/** The Host of a copy, as Istio and Envoy mark it: "-shadow" after the host, before the port. */
export function shadowAuthority(authority: string): string {
  const port = /:[0-9]*$/.exec(authority)?.[0] ?? "";
  const host = authority.slice(0, authority.length - port.length);
  // An IP literal in brackets has no name to add to.
  return host === "" || host.endsWith("]")
    ? authority
    : `${host}-shadow${port}`;
}
