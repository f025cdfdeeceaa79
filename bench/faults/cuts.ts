/** Packets that are dropped between hosts of the measurement, by rules in the namespace of one of them. */
import { UserError } from "../../src/core/errors.ts";
import type { Host } from "../../test/support/meshes/hosts.ts";

/** Drops what this host and those others say to each other, silently. */
export async function cut(host: Host, from: readonly Host[]): Promise<void> {
  for (const { ipv4 } of from) {
    await iptables(host, ["-A", "INPUT", "-s", ipv4, "-j", "DROP"]);
    await iptables(host, ["-A", "OUTPUT", "-d", ipv4, "-j", "DROP"]);
  }
}

/** Passes what this host and that other say to each other again. */
export async function heal(host: Host, from: readonly Host[]): Promise<void> {
  for (const { ipv4 } of from) {
    await iptables(host, ["-D", "INPUT", "-s", ipv4, "-j", "DROP"]);
    await iptables(host, ["-D", "OUTPUT", "-d", ipv4, "-j", "DROP"]);
  }
}

async function iptables(host: Host, rule: readonly string[]): Promise<void> {
  const { code, stderr } = await host.run(["iptables", "-w", ...rule]);
  if (code !== 0) throw new UserError(`iptables ${rule.join(" ")}: ${stderr}`);
}
