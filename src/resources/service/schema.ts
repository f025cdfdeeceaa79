/** Service: the name by which callers know a set of workloads, and its ports; or a destination outside the mesh. */
import { isIP } from "node:net";
import Type, { type TSchema } from "typebox";
import { isWildcard } from "../../core/text/wildcards.ts";
import { carriesBytes } from "../../mesh/opaque-ports.ts";
import type { Resource } from "../envelope.ts";
import {
  defineKind,
  OWN_GROUP,
  type KindDefinition,
  type Problem,
} from "../kind.ts";
import { duplicates, error, quote } from "../problems.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME_OR_WILDCARD,
  field,
  PORT,
  WANTED_LABELS,
} from "../schema-parts.ts";
import { hostFault } from "../text-checks.ts";

export type ServiceResource = Resource<ServiceSpec>;

/** `tls` is opaque, as `tcp` is; `http2` and `grpc` speak HTTP/2 with prior knowledge to the application. */
export type AppProtocol = "http" | "http2" | "grpc" | "tcp" | "tls";

export interface ServicePort {
  /** Required where there is more than one. */
  readonly name?: string;
  /** What callers use. */
  readonly port: number;
  /** What the application, or the server outside, listens on; absent: the same as `port`. */
  readonly targetPort?: number;
  /** Absent: http, or tcp where it is known that servers speak first. */
  readonly appProtocol?: AppProtocol;
}

export interface ServiceSpec {
  readonly ports: readonly ServicePort[];
  /** Labels of the workloads in the same namespace that serve it. Required but for MESH_EXTERNAL. */
  readonly selector?: Readonly<Record<string, string>>;
  /** Namespaces that see it: "*" all, "." its own, or names. Absent: ["*"]. */
  readonly exportTo?: readonly string[];
  readonly location?: "MESH_INTERNAL" | "MESH_EXTERNAL";
  /** DNS names by which callers know an external service, or `*.NAME` for all below one. */
  readonly hosts?: readonly string[];
  /** MESH_EXTERNAL only. Absent: DNS, which dials `hosts`; STATIC dials `endpoints`. */
  readonly resolution?: "DNS" | "STATIC";
  readonly endpoints?: readonly { readonly address: string }[];
}

const DEFAULT_APP_PROTOCOL: AppProtocol = "http";

export function appProtocolOf({
  port,
  targetPort,
  appProtocol,
}: Pick<ServicePort, "port" | "targetPort" | "appProtocol">): AppProtocol {
  return appProtocol ?? defaultProtocol(port, targetPort);
}

function defaultProtocol(
  port: number,
  targetPort: number | undefined,
): AppProtocol {
  return carriesBytes(port) ||
    (targetPort !== undefined && carriesBytes(targetPort))
    ? "tcp"
    : DEFAULT_APP_PROTOCOL;
}

/** Whether the port carries requests, not bytes alone. */
export function speaksHttp(port: ServicePort): boolean {
  const protocol = appProtocolOf(port);
  return protocol !== "tcp" && protocol !== "tls";
}

/** The port that the applications listen on, where the workload does not name it otherwise. */
export function targetPortOf(port: ServicePort): number {
  return port.targetPort ?? port.port;
}

export function isExternal(spec: ServiceSpec): boolean {
  return spec.location === "MESH_EXTERNAL";
}

/** Whether callers in `caller` see a Service of `namespace`. */
export function isExportedTo(
  spec: ServiceSpec,
  namespace: string,
  caller: string,
): boolean {
  return (spec.exportTo ?? ["*"]).some(
    (entry) =>
      entry === "*" ||
      entry === caller ||
      (entry === "." && namespace === caller),
  );
}

/** Namespaces whose callers see it, or "*" alone: `exportTo` with the default and its own namespace put in. */
export function visibilityOf({
  metadata: { namespace = "" },
  spec,
}: ServiceResource): readonly string[] {
  const to = (spec.exportTo ?? ["*"]).map((entry) =>
    entry === "." ? namespace : entry,
  );
  return to.includes("*") ? ["*"] : to;
}

/** The port of that number, or of that name. */
export function findPort(
  spec: ServiceSpec,
  port: number | string,
): ServicePort | undefined {
  return spec.ports.find((candidate) =>
    typeof port === "number"
      ? candidate.port === port
      : candidate.name === port,
  );
}

const port = Type.Object(
  {
    name: field(
      "Its name, for routes and workloads. Required where there are several ports.",
      Type.Optional(Type.String(DNS_LABEL)),
    ),
    port: field("The port that callers connect to.", Type.Integer(PORT)),
    targetPort: field(
      "The port that the application listens on, or the server of a MESH_EXTERNAL. Without it, the same as `port`.",
      Type.Optional(Type.Integer(PORT)),
    ),
    appProtocol: field(
      "The protocol. Ports for http, http2 and grpc accept parsed requests alone. Without it, tcp on ports of protocols that are not HTTP: 21, 22, 23, 25, 110, 119, 143, 587, 3306, 5432, 5900, 6379, 11211, 27017.",
      Type.Optional(Type.Enum(["http", "http2", "grpc", "tcp", "tls"])),
      DEFAULT_APP_PROTOCOL,
    ),
  },
  CLOSED,
);

const spec: TSchema = describes<ServiceSpec>()(
  Type.Object(
    {
      ports: field(
        "The ports that callers use.",
        Type.Array(port, { minItems: 1, maxItems: 64 }),
      ),
      selector: field(
        "Labels of the workloads in its namespace that serve it. Required unless it is MESH_EXTERNAL.",
        Type.Optional(WANTED_LABELS),
      ),
      exportTo: field(
        "Namespaces that see it: `*` is all, `.` its own.",
        Type.Optional(
          Type.Array(
            Type.String({
              pattern: `^(\\*|\\.|${DNS_LABEL.pattern.slice(1, -1)})$`,
              expected: '"*", "." or the name of a namespace',
            }),
            { minItems: 1, maxItems: 64 },
          ),
        ),
        ["*"],
      ),
      location: field(
        "MESH_EXTERNAL is a destination without sidecars.",
        Type.Optional(Type.Enum(["MESH_INTERNAL", "MESH_EXTERNAL"])),
        "MESH_INTERNAL",
      ),
      hosts: field(
        "Host names by which callers know it. `*.NAME` is every host below a name, each called by its own. For MESH_EXTERNAL, and required there.",
        Type.Optional(
          Type.Array(Type.String(DNS_NAME_OR_WILDCARD), {
            minItems: 1,
            maxItems: 64,
          }),
        ),
      ),
      resolution: field(
        "DNS connects to `hosts`, STATIC to `endpoints`. For MESH_EXTERNAL.",
        Type.Optional(Type.Enum(["DNS", "STATIC"])),
        "DNS",
      ),
      endpoints: field(
        "Where to connect to. With `resolution: STATIC`, and required there.",
        Type.Optional(
          Type.Array(
            Type.Object(
              {
                address: field(
                  "An IP address.",
                  Type.String({ minLength: 1, maxLength: 253 }),
                ),
              },
              CLOSED,
            ),
            { minItems: 1, maxItems: 256 },
          ),
        ),
      ),
    },
    CLOSED,
  ),
);

export const SERVICE: KindDefinition<ServiceSpec> = defineKind({
  kind: "Service",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "services",
  shortNames: ["svc"],
  meaning:
    "A name for a set of workloads and its ports; or a destination outside the mesh.",
  spec,
  unsupported: {
    "spec.ports[].protocol": "every port is TCP; remove it",
    "spec.type": "a Service of the mesh has no type; remove it",
    "spec.clusterIP":
      "a Service of the mesh has no address of its own; remove it",
    "spec.endpoints[].ports": "",
  },
  check: checkService,
});

function checkService({ metadata, spec }: ServiceResource): Problem[] {
  const problems = [
    ...duplicates(
      spec.ports,
      (port) => port.name,
      (index) => ["spec", "ports", index, "name"],
      "a port named",
    ),
    ...duplicates(
      spec.ports,
      (port) => String(port.port),
      (index) => ["spec", "ports", index, "port"],
      "the port",
    ),
  ];
  // Callers write NAME.NAMESPACE: a dot in the name would be read as a namespace.
  if (metadata.name.includes(".") || metadata.name.length > 63)
    problems.push(
      error(
        ["metadata", "name"],
        `${quote(metadata.name)} is not ${DNS_LABEL.expected}`,
      ),
    );
  for (const [index, port] of spec.ports.entries())
    if (port.name === undefined && spec.ports.length > 1)
      problems.push(
        error(
          ["spec", "ports", index, "name"],
          "is required where there is more than one port",
        ),
      );
  return [
    ...problems,
    ...(isExternal(spec) ? checkExternal(spec) : checkInternal(spec)),
  ];
}

function checkInternal(spec: ServiceSpec): Problem[] {
  const problems: Problem[] = [];
  if (spec.selector === undefined)
    problems.push(
      error(
        ["spec", "selector"],
        "is required: the labels of the workloads that serve it (but for location: MESH_EXTERNAL)",
      ),
    );
  for (const field of ["hosts", "resolution", "endpoints"] as const)
    if (spec[field] !== undefined)
      problems.push(
        error(["spec", field], "goes only with location: MESH_EXTERNAL"),
      );
  return problems;
}

function checkExternal(spec: ServiceSpec): Problem[] {
  const problems = duplicates(
    spec.hosts,
    (host) => host,
    (index) => ["spec", "hosts", index],
    "the host",
  );
  if (spec.hosts === undefined)
    problems.push(
      error(["spec", "hosts"], "is required with location: MESH_EXTERNAL"),
    );
  for (const [index, host] of (spec.hosts ?? []).entries()) {
    const fault = hostFault(host);
    if (fault !== undefined)
      problems.push(error(["spec", "hosts", index], `${quote(host)} ${fault}`));
    if (isWildcard(host) && spec.resolution === "STATIC")
      problems.push(
        error(
          ["spec", "hosts", index],
          `${quote(host)} does not go with resolution: STATIC: each host below a wildcard is resolved by its own name`,
        ),
      );
  }
  if (spec.selector !== undefined)
    problems.push(
      error(
        ["spec", "selector"],
        "does not go with location: MESH_EXTERNAL: nothing outside the mesh has labels",
      ),
    );
  const fixed = spec.resolution === "STATIC";
  if (fixed && spec.endpoints === undefined)
    problems.push(
      error(["spec", "endpoints"], "is required with resolution: STATIC"),
    );
  if (!fixed && spec.endpoints !== undefined)
    problems.push(
      error(["spec", "endpoints"], "goes only with resolution: STATIC"),
    );
  for (const [index, { address }] of (spec.endpoints ?? []).entries())
    if (isIP(address) === 0)
      problems.push(
        error(
          ["spec", "endpoints", index, "address"],
          `${quote(address)} is not an IP address`,
        ),
      );
  return problems;
}
