/** A pair of http-proxy: the usual way in Node, without any of a mesh's features; a landmark, not a comparison. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import {
  INBOUND_PORT,
  OUTBOUND_PORT,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";

const PROCESS = fileURLToPath(
  new URL("http-proxy-process.ts", import.meta.url),
);

export function httpProxyPair(settings: PeerSettings): Found {
  const { version } = createRequire(import.meta.url)(
    "http-proxy/package.json",
  ) as { version: string };
  const core = settings.core === undefined ? {} : { core: settings.core };
  const command = (
    name: string,
    port: number,
    target: number,
  ): {
    name: string;
    command: string;
    args: string[];
    port: number;
    core?: string;
  } => ({
    name: `http-proxy, ${name}`,
    command: process.execPath,
    args: [
      "--disable-warning=DEP0060",
      PROCESS,
      String(port),
      `http://127.0.0.1:${target}`,
    ],
    port,
    ...core,
  });
  return {
    kind: "peer",
    peer: {
      name: "http-proxy",
      version,
      features: new Set(),
      host: "callee.bench",
      outbound: command("outbound", OUTBOUND_PORT, INBOUND_PORT),
      inbound: command("inbound", INBOUND_PORT, SERVER_PORT),
    },
  };
}
