/** A pair of our sidecars that take their configuration from files: the same code path as with a control plane. */
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { SIDECAR_FLAGS } from "../../src/cli/node-flags.ts";
import { UserError } from "../../src/core/errors.ts";
import { TRUST_DOMAIN } from "../certificates.ts";
import {
  EVERY_FEATURE,
  INBOUND_PORT,
  OTLP_PORT,
  OUTBOUND_PORT,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";

const BUILD = fileURLToPath(new URL("../../src/build.js", import.meta.url));
/** The published bundle is measured, as it is what runs beside a service: from the source, Node keeps its stripper of types in memory. */
const MAIN = fileURLToPath(new URL("../../dist/src/main.mjs", import.meta.url));

export async function wherryPair(settings: PeerSettings): Promise<Found> {
  build();
  const resources = join(settings.directory, "wherry.yaml");
  await writeFile(
    resources,
    resourcesOf(settings)
      .map((resource) => stringify(resource))
      .join("---\n"),
  );
  const { certificates } = settings;
  const common = (side: "caller" | "callee", admin: number): string[] => [
    ...["sidecar", "--resources", resources],
    ...[
      "--certificate",
      certificates[side].certificate,
      "--private-key",
      certificates[side].key,
      "--trust-bundle",
      certificates.root,
    ],
    ...[
      "--state",
      join(settings.directory, side),
      "--access-log",
      "all",
      "--access-log-file",
      "/dev/null",
    ],
    ...[
      "--otlp-endpoint",
      `http://127.0.0.1:${OTLP_PORT}`,
      "--log-level",
      "error",
    ],
    ...[
      "--admin-port",
      String(admin),
      "--metrics-port",
      String(admin + 1),
      "--host",
      "127.0.0.1",
      "--no-capture",
    ],
  ];
  const run = (args: readonly string[]): readonly string[] => [
    "--disable-warning=ExperimentalWarning",
    ...SIDECAR_FLAGS,
    MAIN,
    ...args,
  ];
  const core = settings.core === undefined ? {} : { core: settings.core };
  return {
    kind: "peer",
    peer: {
      name: "Wherry",
      version: "this checkout, built",
      features: EVERY_FEATURE,
      host: "callee.bench",
      outbound: {
        name: "Wherry, outbound",
        command: process.execPath,
        args: run([
          ...common("caller", 8211),
          "--outbound-port",
          String(OUTBOUND_PORT),
          "--link-port",
          "8203",
        ]),
        port: OUTBOUND_PORT,
        ...core,
      },
      inbound: {
        name: "Wherry, inbound",
        command: process.execPath,
        args: run([
          ...common("callee", 8221),
          "--outbound-port",
          "8204",
          "--link-port",
          String(INBOUND_PORT),
          "--app-port",
          `http=${SERVER_PORT}`,
        ]),
        port: INBOUND_PORT,
        ...core,
      },
    },
  };
}

/** `npm run build`: what is measured is never older than the source. */
function build(): void {
  const result = spawnSync(process.execPath, [BUILD]);
  if (result.status !== 0)
    throw new UserError(`npm run build fails: ${result.stderr.toString()}`);
}

/** What Envoy's configuration says, in our kinds. */
function resourcesOf(settings: PeerSettings): object[] {
  const own = "mesh.wherry.dev/v1alpha1";
  return [
    {
      apiVersion: own,
      kind: "Mesh",
      metadata: { name: "default" },
      spec: {
        trustDomain: TRUST_DOMAIN,
        authorization: { defaultAction: "ALLOW" },
        defaults: { tracing: { randomSamplingPercentage: settings.tracing } },
      },
    },
    {
      apiVersion: own,
      kind: "Service",
      metadata: { name: "callee", namespace: "bench" },
      spec: {
        ports: [
          {
            name: "http",
            port: 80,
            targetPort: SERVER_PORT,
            appProtocol: "http",
          },
        ],
        selector: { app: "callee" },
      },
    },
    {
      apiVersion: own,
      kind: "Workload",
      metadata: {
        name: "callee-1",
        namespace: "bench",
        labels: { app: "callee" },
      },
      spec: {
        address: "127.0.0.1",
        ports: { http: SERVER_PORT },
        link: { port: INBOUND_PORT },
        serviceAccount: "callee",
      },
    },
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: { name: "callee", namespace: "bench" },
      spec: {
        parentRefs: [
          { group: "mesh.wherry.dev", kind: "Service", name: "callee" },
        ],
        rules: [
          {
            backendRefs: [{ name: "callee", port: 80 }],
            timeouts: { backendRequest: "2s" },
            retry: { codes: [500, 502, 503, 504], attempts: 2 },
          },
        ],
      },
    },
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name: "callers", namespace: "bench" },
      spec: {
        selector: { matchLabels: { app: "callee" } },
        action: "ALLOW",
        rules: [
          {
            from: [
              {
                source: { principals: [`${TRUST_DOMAIN}/ns/bench/sa/caller`] },
              },
            ],
            to: [{ operation: { paths: ["/*"] } }],
          },
        ],
      },
    },
  ];
}
