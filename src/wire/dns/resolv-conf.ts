/** resolv.conf(5): the name servers that it lists. */
import { canonicalAddress } from "../../core/text/network.ts";

export const RESOLV_CONF = "/etc/resolv.conf";
/** Those after it no resolver asks (MAXNS). */
const MOST = 3;

/** In their order, each once; link-local ones of IPv6 are left out, for they mean nothing without their interface. */
export function nameServersIn(text: string): readonly string[] {
  const found = text.split("\n").flatMap((line) => {
    const [word, address = ""] = line.trim().split(/\s+/);
    const plain = word === "nameserver" ? canonicalAddress(address) : undefined;
    return plain === undefined || plain.startsWith("fe80:") ? [] : [plain];
  });
  return [...new Set(found)].slice(0, MOST);
}
