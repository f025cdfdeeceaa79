/** Packets that do not pass between hosts of the measurement, by rules in the namespace of one of them. */
import { UserError } from "../../src/core/errors.ts";
import type { Host } from "../../test/support/meshes/hosts.ts";

/**
 * What becomes of packets between a host and others: dropped silently both ways, or one way alone, or refused so that each sender hears of it.
 * "in" and "out" are the host's own.
 */
export type Manner = "dropped" | "in-dropped" | "out-dropped" | "rejected";

const DROP = ["-j", "DROP"];
const RESET = ["-j", "REJECT", "--reject-with", "tcp-reset"];

/** What this host and those others say to each other does not pass any more. */
export function cut(
  host: Host,
  from: readonly Host[],
  manner: Manner = "dropped",
): Promise<void> {
  return change(host, from, manner, "-A");
}

/** Passes what this host and those others say to each other again, which was cut in that manner. */
export function heal(
  host: Host,
  from: readonly Host[],
  manner: Manner = "dropped",
): Promise<void> {
  return change(host, from, manner, "-D");
}

async function change(
  host: Host,
  from: readonly Host[],
  manner: Manner,
  order: "-A" | "-D",
): Promise<void> {
  for (const { ipv4 } of from)
    for (const rule of rulesOf(manner, ipv4))
      await iptables(host, [order, ...rule]);
}

function rulesOf(manner: Manner, ipv4: string): readonly (readonly string[])[] {
  const incoming = ["INPUT", "-s", ipv4];
  const outgoing = ["OUTPUT", "-d", ipv4];
  switch (manner) {
    case "dropped":
      return [
        [...incoming, ...DROP],
        [...outgoing, ...DROP],
      ];
    case "in-dropped":
      return [[...incoming, ...DROP]];
    case "out-dropped":
      return [[...outgoing, ...DROP]];
    case "rejected":
      return [
        [...incoming, "-p", "tcp", ...RESET],
        // A reset itself passes: it is what tells the other side.
        [
          ...[...outgoing, "-p", "tcp", "!", "--tcp-flags", "RST", "RST"],
          ...RESET,
        ],
      ];
  }
}

async function iptables(host: Host, rule: readonly string[]): Promise<void> {
  const { code, stderr } = await host.run(["iptables", "-w", ...rule]);
  if (code !== 0) throw new UserError(`iptables ${rule.join(" ")}: ${stderr}`);
}
