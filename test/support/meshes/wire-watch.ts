/** What goes over the wire to a host, as tcpdump sees it. */
import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host, Network } from "./hosts.ts";

export interface Seen {
  /** TCP packets from or to that port of the host. */
  packets(port: number): number;
  /** Whether these octets went by, in one packet, in either direction. */
  has(text: string): boolean;
}

/** Watches the host's cable while `act` runs. */
export async function watchWire(
  network: Network,
  host: Host,
  act: () => Promise<void>,
): Promise<Seen> {
  const file = join(tmpdir(), `wherry-wire-${randomUUID()}.pcap`);
  const tcpdump = network.wire.start([
    ...["tcpdump", "-i", host.name, "-w", file, "-U", "--immediate-mode"],
    ...["-s", "0", "-B", "16384", "-Z", "root"],
    // What sidecars report to the machine of the control plane is no call: spans go there in plaintext, with the paths of calls.
    `tcp and not host ${network.machine.ipv4}`,
  ]);
  try {
    await tcpdump.prints("listening on");
    await act();
    await tcpdump.stop("SIGINT");
    if (!/\b0 packets dropped by kernel/.test(tcpdump.printed))
      throw new Error(`tcpdump lost packets: ${tcpdump.printed}`);
    const octets = await readFile(file);
    const { stdout } = await network.wire.run([
      ...["tcpdump", "-r", file, "-nn", "-t", "-q"],
    ]);
    // "IP 198.18.7.1.40000 > 198.18.7.2.15008: tcp 0"
    const ends = stdout
      .split("\n")
      .map((line) => line.split(" ").map((word) => word.replace(/:$/, "")));
    return {
      packets: (port) =>
        ends.filter((words) =>
          [host.ipv4, host.ipv6].some((address) =>
            words.includes(`${address}.${port}`),
          ),
        ).length,
      has: (text) => octets.includes(text),
    };
  } finally {
    await tcpdump.stop("SIGKILL");
    await rm(file, { force: true });
  }
}
