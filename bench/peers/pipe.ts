/** A pair of Node processes that pass bytes on over mutual TLS, and nothing else: the least that messages can cost there, a landmark. */
import { fileURLToPath } from "node:url";
import {
  INBOUND_PORT,
  isCalls,
  OUTBOUND_PORT,
  pinnedTo,
  SERVER_PORT,
  type Found,
  type KeyPair,
  type PeerSettings,
} from "../peer.ts";
import type { Command } from "../processes.ts";

const PROCESS = fileURLToPath(import.meta.resolve("./pipe-process.ts"));

export function pipePair(settings: PeerSettings): Found {
  const name = "pipe";
  if (isCalls(settings.apps))
    return { kind: "missing", name, why: "it is set up for messages" };
  const { root, caller, callee } = settings.certificates;
  const command = (
    side: "outbound" | "inbound",
    port: number,
    target: number,
    { certificate, key }: KeyPair,
  ): Command => ({
    name: `${name}, ${side}`,
    command: process.execPath,
    args: [PROCESS, side, String(port), String(target), root, certificate, key],
    port,
    ...pinnedTo(settings.cores),
  });
  return {
    kind: "peer",
    peer: {
      name,
      version: process.version,
      features: new Set(["mtls"]),
      outbound: command("outbound", OUTBOUND_PORT, INBOUND_PORT, caller),
      inbound: command("inbound", INBOUND_PORT, SERVER_PORT, callee),
    },
  };
}
