/** The listeners on a port of this machine, by the tables of /proc/net: any user may take a port that is free, and would get a token that is sent to it. */
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
  const stranger = [...listeners(await readTables(), url)].find(
    (user) => !known.includes(user),
  );
  if (stranger !== undefined)
    throw new UserError(
      `${url.origin} belongs to another user of this machine (uid ${stranger}): the token in ${tokenFile} is not sent there. Find the process that has taken the port (ss --listening --tcp --processes)`,
    );
}

/** Empty where the kernel does not say: then nothing is known. */
export async function readTables(): Promise<string> {
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map((table) =>
      readFile(table, "latin1").catch(() => ""),
    ),
  );
  return tables.join("\n");
}

/** Addresses on which something listens at the port. */
export function listeningAddresses(
  tables: string,
  port: number,
): ReadonlySet<string> {
  const addresses = new Set<string>();
  for (const [address] of listening(tables, port))
    addresses.add(readAddress(address));
  return addresses;
}

/** Users with a listener where a connection to the URL may arrive, by the tables of /proc/net. */
export function listeners(tables: string, url: URL): ReadonlySet<number> {
  const port = Number(url.port === "" ? 80 : url.port);
  const places = new Set([...addressesOf(url).flatMap(written), ...ANY]);
  const users = new Set<number>();
  for (const [address, user] of listening(tables, port))
    if (places.has(address)) users.add(user);
  return users;
}

/** Address as the tables have it, and user, of each listener at the port. */
function* listening(
  tables: string,
  port: number,
): Generator<readonly [address: string, user: number]> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const line of tables.split("\n")) {
    const [, local = "", , state, , , , user] = line.trim().split(/ +/);
    if (state === LISTENING && local.endsWith(suffix))
      yield [local.slice(0, -suffix.length), Number(user)];
  }
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

function readAddress(hex: string): string {
  const bytes = Buffer.from(hex, "hex").swap32();
  return ipaddr.process(ipaddr.fromByteArray([...bytes]).toString()).toString();
}

function hexOf(bytes: readonly number[]): string {
  const swapped = Buffer.from(bytes).swap32();
  return swapped.toString("hex").toUpperCase();
}
