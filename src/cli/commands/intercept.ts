/** `wherry intercept`: the packet rules that send a network namespace's traffic through its sidecar. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";
import type { CliContext } from "../context.ts";
import {
  FAMILIES,
  interceptionRules,
  removalRules,
  type Family,
  type Interception,
} from "../intercept-rules.ts";
import { listOption, option, portOf } from "../settings.ts";

interface InterceptOptions {
  readonly dryRun?: boolean;
  readonly remove?: boolean;
  readonly proxyUid: string;
  readonly outboundPort: string;
  readonly inboundPort: string;
  readonly linkPort: string;
  readonly excludeInbound?: readonly string[];
  readonly excludeOutbound?: readonly string[];
  readonly excludeAddress?: readonly string[];
}

const TOOLS: Readonly<
  Record<Family, { readonly save: string; readonly restore: string }>
> = {
  ipv4: { save: "iptables-save", restore: "iptables-restore" },
  ipv6: { save: "ip6tables-save", restore: "ip6tables-restore" },
};

const NAMES: Readonly<Record<Family, string>> = { ipv4: "IPv4", ipv6: "IPv6" };

/** Absent only where the kernel was built or started without IPv6: then no process can have an address of it later either. */
const IPV6_ADDRESSES = "/proc/net/if_inet6";

export function registerIntercept(program: Command, context: CliContext): void {
  program
    .command("intercept")
    .description(
      "send this network namespace's TCP traffic, IPv4 and IPv6, through its sidecar; needs CAP_NET_ADMIN; run it before the application starts, because open connections may break",
    )
    .option("--dry-run", "print the rules and change nothing")
    .option("--remove", "remove the rules")
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
}

async function intercept(
  context: CliContext,
  options: InterceptOptions,
): Promise<void> {
  const interception = interceptionOf(options);
  const rulesOf = (family: Family, saved: string): string =>
    options.remove === true
      ? removalRules(saved)
      : interceptionRules(interception, family, saved);
  if (options.dryRun === true) {
    for (const family of FAMILIES)
      context.print(
        `# ${TOOLS[family].restore} --noflush\n${rulesOf(family, "")}`,
      );
    return;
  }
  const families = FAMILIES.filter(
    (family) => family === "ipv4" || existsSync(IPV6_ADDRESSES),
  );
  const plans = new Map<Family, string>();
  for (const family of families)
    plans.set(
      family,
      rulesOf(family, await tool(TOOLS[family].save, ["-t", "nat"])),
    );
  // All are tried before the first takes effect: rules for one family alone would be a way around the sidecar.
  for (const mode of [["--test"], []])
    for (const [family, rules] of plans)
      await tool(
        TOOLS[family].restore,
        [...mode, "--noflush", "--wait", "5"],
        rules,
      );
  const names = families.map((family) => NAMES[family]).join(" and ");
  context.print(
    options.remove === true
      ? "the rules are gone\n"
      : `captured: outgoing traffic goes to ${options.outboundPort}, incoming to ${options.inboundPort}, in ${names}${families.length === 1 ? "; this kernel has no IPv6" : ""}\n`,
  );
}

function interceptionOf(options: InterceptOptions): Interception {
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
  };
}

function listenerPort(flag: string, text: string): number {
  const port = portOf(flag, text);
  if (port === 0)
    throw new UserError(
      `invalid ${flag} 0: expected the port that the sidecar listens on`,
    );
  return port;
}

/** Runs one of iptables' tools; resolves with what it prints. */
function tool(
  name: string,
  args: readonly string[],
  input = "",
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      name,
      args,
      { timeout: 30_000 },
      (error, output, complaint) => {
        if (error === null) resolve(output);
        else if (systemCode(error) === "ENOENT")
          reject(
            new UserError(
              `${name} is not installed: the package iptables has it. Rules for one family alone would leave a way around the sidecar`,
            ),
          );
        else
          reject(
            new UserError(
              `${name}: ${complaint.trim() || messageOf(error)}. It needs root, or CAP_NET_ADMIN in this network namespace`,
            ),
          );
      },
    );
    // A tool that ends before it has read everything says by its exit status what became of it.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}
