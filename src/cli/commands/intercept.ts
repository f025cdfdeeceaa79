/** `wherry intercept`: the packet rules that send a network namespace's traffic through its sidecar. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { readFile } from "node:fs/promises";
import { UserError } from "../../core/errors.ts";
import { canonicalAddress } from "../../core/text/network.ts";
import type { CliContext } from "../context.ts";
import {
  BACKENDS,
  backendNamed,
  backendsHere,
  type Backend,
} from "../intercept/backends.ts";
import {
  FAMILIES,
  type Family,
  type Interception,
} from "../intercept/rules.ts";
import { bypasses } from "../intercept/verify.ts";
import { listOption, option, portOf } from "../settings.ts";
import { nameServersIn, RESOLV_CONF } from "../../wire/dns/resolv-conf.ts";

interface InterceptOptions {
  readonly dryRun?: boolean;
  readonly remove?: boolean;
  readonly verify?: boolean;
  readonly backend?: string;
  readonly proxyUid: string;
  readonly outboundPort: string;
  readonly inboundPort: string;
  readonly linkPort: string;
  readonly dnsPort?: string;
  readonly dnsServer?: readonly string[];
  readonly excludeInbound?: readonly string[];
  readonly excludeOutbound?: readonly string[];
  readonly excludeAddress?: readonly string[];
}

const NAMES: Readonly<Record<Family, string>> = { ipv4: "IPv4", ipv6: "IPv6" };

/** Absent only where the kernel was built or started without IPv6: then no process can have an address of it later either. */
const IPV6_ADDRESSES = "/proc/net/if_inet6";

export function registerIntercept(program: Command, context: CliContext): void {
  const command = program
    .command("intercept")
    .description(
      "send this network namespace's TCP traffic, IPv4 and IPv6, through its sidecar; needs CAP_NET_ADMIN; run it before the application starts, because open connections may break",
    )
    .option("--dry-run", "print the rules and change nothing")
    .option("--remove", "remove the rules")
    .option(
      "--verify",
      "make a call of its own through each rule, with the options that the rules were set with, and fail where one bypasses the sidecar; needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SETUID) and iproute2",
    )
    .addOption(
      option(
        "--backend <name>",
        `tool that sets the rules: ${BACKENDS.join(" or ")}; without it, the one whose rules stand, else the first that is installed`,
      ),
    )
    .addOption(
      option(
        "--proxy-uid <uid>",
        "user that the sidecar runs as; its traffic is not captured",
        "1337",
      ),
    )
    .addOption(
      option(
        "--outbound-port <port>",
        "port of the sidecar for calls of the application",
        "15001",
      ),
    )
    .addOption(
      option(
        "--inbound-port <port>",
        "port of the sidecar for calls to the application",
        "15006",
      ),
    )
    .addOption(
      option(
        "--link-port <port>",
        "port of the link between sidecars; incoming traffic to it is not captured",
        "15008",
      ),
    )
    .addOption(
      listOption(
        "--exclude-inbound <ports>",
        "ports whose incoming traffic is not captured, such as 22; the sidecar's metrics port (15020) never is",
      ),
    )
    .addOption(
      listOption(
        "--exclude-outbound <ports>",
        "ports whose outgoing traffic is not captured",
      ),
    )
    .addOption(
      listOption(
        "--exclude-address <ranges>",
        "destinations (CIDR) whose outgoing traffic is not captured",
      ),
    )
    .action((options: InterceptOptions) => intercept(context, options));
  withNames(command);
}

/** Whose questions for names go to the sidecar, too. */
function withNames(command: Command): void {
  command
    .addOption(
      option(
        "--dns-port <port>",
        "port of the sidecar's resolver (wherry sidecar --dns: 15053); questions to the name servers of this namespace go there; default: they are not captured",
      ),
    )
    .addOption(
      listOption(
        "--dns-server <addresses>",
        "with --dns-port: name servers that applications ask; default: those of /etc/resolv.conf",
      ),
    );
}

async function intercept(
  context: CliContext,
  options: InterceptOptions,
): Promise<void> {
  const interception = await interceptionOf(options);
  const wanted = options.remove === true ? undefined : interception;
  const named =
    options.backend === undefined ? undefined : backendNamed(options.backend);
  if (options.dryRun === true) {
    const [backend] =
      named === undefined ? await backendsHere().catch(iptablesAlone) : [named];
    for (const family of FAMILIES)
      context.print(backend?.show(wanted, family) ?? "");
    return;
  }
  const families = FAMILIES.filter(
    (family) => family === "ipv4" || existsSync(IPV6_ADDRESSES),
  );
  const here = named === undefined ? await backendsHere() : [named];
  if (wanted === undefined) {
    for (const backend of here)
      if (await backend.stands(families))
        await backend.install(undefined, families);
    context.print("the rules are gone\n");
    return;
  }
  const backend = await chosen(here, families);
  if (options.verify === true) {
    await verify(context, backend, interception, families);
    return;
  }
  await backend.install(wanted, families);
  const names = families.map((family) => NAMES[family]).join(" and ");
  context.print(
    `captured: outgoing traffic goes to ${options.outboundPort}, incoming to ${options.inboundPort}, in ${names}, by ${backend.name}${families.length === 1 ? "; this kernel has no IPv6" : ""}\n`,
  );
}

/** Where nothing is installed, there are the rules to look at all the same. */
function iptablesAlone(): readonly Backend[] {
  return [backendNamed("iptables")];
}

/** The one whose rules stand, so that they do not stand twice; else the first. */
async function chosen(
  here: readonly Backend[],
  families: readonly Family[],
): Promise<Backend> {
  for (const backend of here)
    if (here.length > 1 && (await backend.stands(families))) return backend;
  const [first] = here;
  if (first === undefined) throw new UserError("no backend is installed");
  return first;
}

async function verify(
  context: CliContext,
  backend: Backend,
  interception: Interception,
  families: readonly Family[],
): Promise<void> {
  const found: string[] = [];
  for (const family of families)
    for (const flaw of [
      ...(await backend.flaws(interception, family)),
      ...(await bypasses(interception, family, context.clock)),
    ])
      found.push(`${NAMES[family]}: ${flaw}`);
  if (found.length > 0) throw new UserError(found.join("\n"));
  const names = families.map((family) => NAMES[family]).join(" and ");
  context.print(`every rule acts, in ${names}, by ${backend.name}\n`);
}

async function interceptionOf(
  options: InterceptOptions,
): Promise<Interception> {
  const uid = Number(options.proxyUid);
  if (!/^[0-9]{1,10}$/.test(options.proxyUid) || uid > 0xffff_fffe)
    throw new UserError(
      `invalid --proxy-uid ${options.proxyUid}: expected a numeric user ID`,
    );
  const ports = (flag: string, texts: readonly string[] = []): number[] =>
    texts.map((text) => portOf(flag, text));
  return {
    proxyUid: uid,
    outboundPort: listenerPort("--outbound-port", options.outboundPort),
    inboundPort: listenerPort("--inbound-port", options.inboundPort),
    excludedInbound: [
      portOf("--link-port", options.linkPort),
      15020,
      ...ports("--exclude-inbound", options.excludeInbound),
    ],
    // Not the link's: the sidecar dials that, whose user is left alone as it is. Another process that does is captured and judged.
    excludedOutbound: ports("--exclude-outbound", options.excludeOutbound),
    excludedAddresses: options.excludeAddress ?? [],
    ...(await capturedNames(options)),
  };
}

async function capturedNames({
  dnsPort,
  dnsServer,
}: InterceptOptions): Promise<Pick<Interception, "names">> {
  if (dnsPort === undefined) {
    if (dnsServer !== undefined)
      throw new UserError("--dns-server goes with --dns-port alone");
    return {};
  }
  const port = listenerPort("--dns-port", dnsPort);
  const servers =
    dnsServer?.map(serverOf) ??
    nameServersIn(await readFile(RESOLV_CONF, "utf8").catch(() => ""));
  if (servers.length === 0)
    throw new UserError(
      `${RESOLV_CONF} lists no name server: say with --dns-server which ones applications ask`,
    );
  return { names: { port, servers: [...new Set(servers)] } };
}

function serverOf(text: string): string {
  const address = canonicalAddress(text);
  if (address === undefined)
    throw new UserError(`invalid --dns-server ${text}: expected an IP address`);
  return address;
}

function listenerPort(flag: string, text: string): number {
  const port = portOf(flag, text);
  if (port === 0)
    throw new UserError(
      `invalid ${flag} 0: expected the port that the sidecar listens on`,
    );
  return port;
}
