/** Workload: one instance of an application, with the address, ports and identity under which it is called. */
import { isIP } from "node:net";
import Type, { type TSchema } from "typebox";
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { Resource } from "../envelope.ts";
import {
  defineKind,
  OWN_GROUP,
  type KindDefinition,
  type Problem,
} from "../kind.ts";
import { error, quote } from "../problems.ts";
import {
  CLOSED,
  describes,
  DNS_LABEL,
  DNS_NAME,
  DURATION,
  field,
  PORT,
} from "../schema-parts.ts";
import { targetPortOf, type ServicePort } from "../service/schema.ts";

export type WorkloadResource = Resource<WorkloadSpec>;

export interface WorkloadSpec {
  /** IP address or DNS name. */
  readonly address: string;
  /** Ports that its application listens on, by the names that Services give them. Absent: it only calls. */
  readonly ports?: Readonly<Record<string, number>>;
  /** Where its sidecar takes calls over mTLS; absent: it has no sidecar and is called in plaintext. */
  readonly link?: { readonly port: number };
  /** Absent: "default". */
  readonly serviceAccount?: string;
  /** "REGION/ZONE/SUBZONE", or the first parts of it. */
  readonly locality?: string;
  /** Absent: 1. */
  readonly weight?: number;
  /** How long it lives without a sign of its sidecar. Absent: 15 s. */
  readonly ttl?: string;
  /** False keeps it out of balancing. Absent: true. */
  readonly ready?: boolean;
  /** Ports on which its application takes no connections at present, each with what its sidecar found there. */
  readonly unreadyPorts?: Readonly<Record<string, string>>;
}

/** Marks a Workload that a sidecar registered, with that sidecar's SPIFFE ID: the rest are a person's, and never expire. */
export const REGISTERED_BY = "mesh.wherry.dev/registered-by";

/** Marks a Workload whose lease has run out while others could serve in its place, with the time (RFC 3339) of its end: callers prefer those. */
export const UNCONFIRMED_SINCE = "mesh.wherry.dev/unconfirmed-since";

export function isUnconfirmed({
  metadata,
}: Pick<WorkloadResource, "metadata">): boolean {
  return metadata.annotations?.[UNCONFIRMED_SINCE] !== undefined;
}

export interface WorkloadSettings {
  readonly address: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly link: { readonly port: number } | undefined;
  readonly serviceAccount: string;
  /** "" where none is given. */
  readonly locality: string;
  readonly weight: number;
  /** Milliseconds. */
  readonly ttl: number;
  readonly ready: boolean;
  readonly unreadyPorts: WorkloadSpec["unreadyPorts"];
}

export const WORKLOAD_DEFAULTS = {
  serviceAccount: "default",
  locality: "",
  weight: 1,
  ttl: 15_000,
  ready: true,
} as const;

export function workloadSettings(spec: WorkloadSpec): WorkloadSettings {
  return {
    ...WORKLOAD_DEFAULTS,
    ...spec,
    ports: spec.ports ?? {},
    link: spec.link,
    unreadyPorts: spec.unreadyPorts,
    ttl: spec.ttl === undefined ? WORKLOAD_DEFAULTS.ttl : durationOf(spec.ttl),
  };
}

/**
 * The port of the workload's application that serves a Service's port: the one that bears its name, else the target port where
 * the workload declares it; undefined where it declares neither, for a stream never reaches an undeclared port.
 */
export function applicationPort(
  spec: WorkloadSpec,
  port: ServicePort,
): number | undefined {
  const ports = spec.ports ?? {};
  if (port.name !== undefined && Object.hasOwn(ports, port.name))
    return ports[port.name];
  const target = targetPortOf(port);
  return Object.values(ports).includes(target) ? target : undefined;
}

/** Why the application takes no connections on that port; undefined where it does. */
export function unreadyPort(
  { ports = {}, unreadyPorts = {} }: WorkloadSpec,
  port: number,
): string | undefined {
  for (const [name, why] of Object.entries(unreadyPorts))
    if (ports[name] === port) return why;
  return undefined;
}

const HOST = new RegExp(DNS_NAME.pattern);

/** Characters that are said of a port that is not ready. */
export const LONGEST_REASON = 300;

/** Milliseconds; a shorter lease would end between two signs of life. */
const LEAST_TTL = 1000;

const spec: TSchema = describes<WorkloadSpec>()(
  Type.Object(
    {
      address: field(
        "Where other sidecars reach it: an IP address or a DNS name.",
        Type.String({ minLength: 1, maxLength: 253 }),
      ),
      ports: field(
        "Ports of the application, by the names that its Services use.",
        Type.Optional(
          Type.Record(Type.String(), Type.Integer(PORT), {
            propertyNames: DNS_LABEL,
            maxProperties: 64,
          }),
        ),
      ),
      link: field(
        "The sidecar. A workload without one is called in plaintext.",
        Type.Optional(
          Type.Object(
            {
              port: field(
                "The port on which the sidecar accepts the link.",
                Type.Integer(PORT),
              ),
            },
            CLOSED,
          ),
        ),
      ),
      serviceAccount: field(
        "The service account in its SPIFFE ID, which callers demand.",
        Type.Optional(Type.String(DNS_NAME)),
        WORKLOAD_DEFAULTS.serviceAccount,
      ),
      locality: field(
        "Where it runs: region, zone, subzone.",
        Type.Optional(
          Type.String({
            pattern: "^[A-Za-z0-9._\\-]+(/[A-Za-z0-9._\\-]+){0,2}$",
            maxLength: 190,
            expected: 'a locality such as "region/zone/subzone"',
          }),
        ),
      ),
      weight: field(
        "Its share of the calls, relative to other endpoints.",
        Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        WORKLOAD_DEFAULTS.weight,
      ),
      ttl: field(
        "How long it stays registered after its sidecar's last renewal; 1s at least.",
        Type.Optional(Type.String(DURATION)),
        formatDuration(WORKLOAD_DEFAULTS.ttl),
      ),
      ready: field(
        "Whether it may be called.",
        Type.Optional(Type.Boolean()),
        WORKLOAD_DEFAULTS.ready,
      ),
      unreadyPorts: field(
        "Ports that may not be called at present, by name, each with the reason. Its sidecar says so while the application takes no connections there.",
        Type.Optional(
          Type.Record(
            Type.String(),
            Type.String({
              minLength: 1,
              maxLength: LONGEST_REASON,
              pattern: "^[ -~]*$",
              expected: "a line of printable ASCII",
            }),
            { propertyNames: DNS_LABEL, maxProperties: 64 },
          ),
        ),
      ),
    },
    CLOSED,
  ),
);

export const WORKLOAD: KindDefinition<WorkloadSpec> = defineKind({
  kind: "Workload",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "workloads",
  shortNames: ["wl"],
  meaning: "One instance of an application. Sidecars register their own.",
  spec,
  unsupported: {
    "spec.labels": "a workload's labels are in metadata.labels",
  },
  check: checkWorkload,
});

function checkWorkload({ spec }: WorkloadResource): Problem[] {
  const problems: Problem[] = [];
  if (isIP(spec.address) === 0 && !HOST.test(spec.address))
    problems.push(
      error(
        ["spec", "address"],
        `${quote(spec.address)} is neither an IP address nor a DNS name`,
      ),
    );
  if (spec.ttl !== undefined && durationOf(spec.ttl) < LEAST_TTL)
    problems.push(
      error(
        ["spec", "ttl"],
        `must be at least ${formatDuration(LEAST_TTL)}, not ${spec.ttl}`,
      ),
    );
  for (const [name, port] of Object.entries(spec.ports ?? {}))
    if (port === spec.link?.port)
      problems.push(
        error(
          ["spec", "ports", name],
          `is the sidecar's own port (link.port ${port}), which no stream may reach`,
        ),
      );
  for (const name of Object.keys(spec.unreadyPorts ?? {}))
    if (!Object.hasOwn(spec.ports ?? {}, name))
      problems.push(
        error(["spec", "unreadyPorts", name], "is not a name in spec.ports"),
      );
  return problems;
}
