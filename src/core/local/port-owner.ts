/** Whose port a token of this machine is about to go to: any user may take a port that is free, and would get what is sent to it. */
import { readFile, stat } from "node:fs/promises";
import ipaddr from "ipaddr.js";
import { UserError } from "../errors.ts";
import { canonicalAddress, hostOfUrl } from "../text/network.ts";

/** The state of such a socket in /proc/net/tcp (net/tcp_states.h). */
const LISTENING = "0A";
const ANY = ["0".repeat(8), "0".repeat(32)];

/** Throws UserError where another user listens at the URL than root, this one, and the owner of the file that the token is in. */
export async function expectOwnPort(
  url: URL,
  tokenFile: string,
): Promise<void> {
  const known = [0, process.geteuid?.() ?? 0, (await stat(tokenFile)).uid];
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map((table) =>
      // Where the kernel does not say, nothing is known against it.
      readFile(table, "latin1").catch(() => ""),
    ),
  );
  const stranger = [...listeners(tables.join("\n"), url)].find(
    (user) => !known.includes(user),
  );
  if (stranger !== undefined)
    throw new UserError(
      `${url.origin} belongs to another user of this machine (uid ${stranger}): the token in ${tokenFile} is not sent there. Find the process that has taken the port (ss --listening --tcp --processes)`,
    );
}

/** Users with a listener where a connection to the URL may arrive, by the tables of /proc/net. */
export function listeners(tables: string, url: URL): ReadonlySet<number> {
  const port = Number(url.port === "" ? 80 : url.port);
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const places = new Set(
    [...addressesOf(url).flatMap(written), ...ANY].map(
      (address) => address + suffix,
    ),
  );
  const users = new Set<number>();
  for (const line of tables.split("\n")) {
    const [, local = "", , state, , , , user] = line.trim().split(/ +/);
    if (state === LISTENING && places.has(local)) users.add(Number(user));
  }
  return users;
}

function addressesOf(url: URL): string[] {
  const address = canonicalAddress(hostOfUrl(url));
  return address === undefined ? ["127.0.0.1", "::1"] : [address];
}

/** As the tables have it: words of four bytes in the byte order of the machine, which is little-endian; IPv4 also as IPv6. */
function written(address: string): string[] {
  const parsed = ipaddr.parse(address);
  const own = hexOf(parsed.toByteArray());
  return parsed.kind() === "ipv4"
    ? [own, hexOf((parsed as ipaddr.IPv4).toIPv4MappedAddress().toByteArray())]
    : [own];
}

function hexOf(bytes: readonly number[]): string {
  const swapped = Buffer.from(bytes).swap32();
  return swapped.toString("hex").toUpperCase();
}
