/** The address that a proxy before the mesh saw, from the X-Forwarded-For that it added itself to. */
import { canonicalAddress } from "../../core/text/network.ts";

/**
 * Each proxy adds the address that it saw behind those that it was told, so only the last `hops` of them are the proxies' own words.
 * Undefined where there are fewer, or where that word cannot be an address.
 */
export function forwardedAddress(
  field: string,
  hops: number,
): string | undefined {
  let end = field.length;
  for (let hop = 1; ; hop += 1) {
    const comma = field.lastIndexOf(",", end - 1);
    if (hop === hops) return addressIn(field.slice(comma + 1, end).trim());
    if (comma <= 0) return undefined;
    end = comma;
  }
}

/** With or without a port, an IPv6 address with or without brackets. */
function addressIn(text: string): string | undefined {
  const bare =
    /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ??
    /^([\d.]+):\d+$/.exec(text)?.[1];
  return canonicalAddress(bare ?? text);
}
