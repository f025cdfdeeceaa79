/** A pair of the usual ways to forward in Node, without any of a mesh's features: landmarks, no comparisons. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import {
  INBOUND_PORT,
  OUTBOUND_PORT,
  pinnedTo,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";
import type { Command } from "../processes.ts";

const PROCESSES = {
  "http-proxy": fileURLToPath(import.meta.resolve("./http-proxy-process.ts")),
  undici: fileURLToPath(import.meta.resolve("./undici-process.ts")),
};

export function nodePair(
  name: "http-proxy" | "undici",
  settings: PeerSettings,
): Found {
  if (settings.apps === "h2")
    return { kind: "missing", name, why: "it is set up for HTTP/1.1" };
  const { version } = createRequire(import.meta.url)(
    `${name}/package.json`,
  ) as { version: string };
  const file = PROCESSES[name];
  const command = (side: string, port: number, target: number): Command => ({
    name: `${name}, ${side}`,
    command: process.execPath,
    args: [
      "--disable-warning=DEP0060",
      file,
      String(port),
      `http://127.0.0.1:${target}`,
    ],
    port,
    ...pinnedTo(settings.cores),
  });
  return {
    kind: "peer",
    peer: {
      name,
      version,
      features: new Set(),
      outbound: command("outbound", OUTBOUND_PORT, INBOUND_PORT),
      inbound: command("inbound", INBOUND_PORT, SERVER_PORT),
    },
  };
}
