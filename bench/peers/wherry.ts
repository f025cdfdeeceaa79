/** A pair of our sidecars that take their configuration from files: the same code path as with a control plane. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import {
  featuresWithout,
  HOST,
  INBOUND_PORT,
  OTLP_PORT,
  OUTBOUND_PORT,
  pinnedTo,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";
import { versionOf } from "../versions.ts";
import { resourcesOf } from "./wherry-resources.ts";

const OUTBOUND_ADMIN = 8211;
export const INBOUND_ADMIN = 8221;
export const INBOUND_METRICS = 8222;

export async function wherryPair(settings: PeerSettings): Promise<Found> {
  const resources = join(settings.directory, "wherry.yaml");
  await writeFile(resources, resourcesText(settings));
  const fromFiles = (side: "caller" | "callee"): string[] => {
    const { certificate, key } = settings.certificates[side];
    return [
      ...[
        "--resources",
        resources,
        "--trust-bundle",
        settings.certificates.root,
      ],
      ...["--certificate", certificate, "--private-key", key],
      ...["--state", join(settings.directory, side)],
    ];
  };
  const cores = pinnedTo(settings.cores);
  return {
    kind: "peer",
    peer: {
      name: "Wherry",
      version: versionOf(settings.dist),
      features: featuresWithout(
        ...(settings.link === "h2" ? [] : (["link-h2"] as const)),
      ),
      outbound: {
        name: "Wherry, outbound",
        command: process.execPath,
        args: wherryArguments(settings.dist, [
          ...fromFiles("caller"),
          ...sidecarArguments(settings),
          ...["--admin-port", String(OUTBOUND_ADMIN)],
          ...["--metrics-port", String(OUTBOUND_ADMIN + 1)],
          ...outboundArguments(settings),
        ]),
        port: OUTBOUND_PORT,
        ...cores,
      },
      inbound: {
        name: "Wherry, inbound",
        command: process.execPath,
        args: wherryArguments(settings.dist, [
          ...fromFiles("callee"),
          ...sidecarArguments(settings),
          ...inboundArguments(),
        ]),
        port: INBOUND_PORT,
        ...cores,
      },
      readiness: { port: INBOUND_METRICS, path: "/readyz" },
    },
  };
}

function resourcesText(settings: PeerSettings): string {
  return resourcesOf(settings, "declared")
    .map((resource) => stringify(resource))
    .join("---\n");
}

/** The bundle is measured, as it is what runs beside a service: from the source, Node keeps its stripper of types in memory. */
export function wherryArguments(
  dist: string,
  args: readonly string[],
): readonly string[] {
  return [
    "--disable-warning=ExperimentalWarning",
    ...SIDECAR_FLAGS,
    join(dist, "wherry.js"),
    "sidecar",
    ...args,
  ];
}

/** What is said to every sidecar. */
export function sidecarArguments(
  settings: Pick<PeerSettings, "link" | "workers" | "connections">,
): string[] {
  return [
    ...["--access-log", "all", "--access-log-file", "/dev/null"],
    ...["--otlp-endpoint", `http://127.0.0.1:${OTLP_PORT}`],
    ...["--link-protocol", settings.link, "--log-level", "error"],
    ...["--host", "127.0.0.1", "--no-capture", "--drain-timeout", "1s"],
    ...(settings.workers === 1
      ? []
      : ["--concurrency", String(settings.workers)]),
    ...(settings.connections === undefined
      ? []
      : ["--max-connections-per-address", String(settings.connections)]),
  ];
}

/** Bytes have no Host: a port of their own leads to the callee. */
function outboundArguments({ apps }: PeerSettings): string[] {
  const link = ["--link-port", "8203"];
  return apps === "tcp"
    ? [
        "--outbound-port",
        "8205",
        "--upstream",
        `${OUTBOUND_PORT}=${HOST}:80`,
        ...link,
      ]
    : ["--outbound-port", String(OUTBOUND_PORT), ...link];
}

export function inboundArguments(): string[] {
  return [
    ...["--admin-port", String(INBOUND_ADMIN)],
    ...["--metrics-port", String(INBOUND_METRICS)],
    ...["--outbound-port", "8204", "--link-port", String(INBOUND_PORT)],
    ...["--app-port", `http=${SERVER_PORT}`],
  ];
}
