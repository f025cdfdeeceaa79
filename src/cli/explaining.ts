/** Calls that nobody makes: a request as a person writes it, the snapshots on both of its sides, and what they decide of it. */
import { canonicalAuthority } from "../core/text/authority.ts";
import { UserError } from "../core/errors.ts";
import { formatSpiffeId } from "../identity/spiffe.ts";
import {
  explainCall,
  type CallExplanation,
  type Side,
} from "../policy/explain/call.ts";
import { lookupIn, type Outcome } from "../policy/explain/decision.ts";
import {
  type Destination,
  type SelfDescription,
  type SnapshotVersion,
} from "../policy/snapshot.ts";
import { compileSnapshot } from "../policy/compile/compile.ts";
import { isGrpc } from "../policy/timeout.ts";
import { parseAuthority, whereTo } from "../proxy/destination.ts";
import { GRPC_STATUSES } from "../mesh/grpc-status.ts";
import { REASONS } from "../mesh/reasons.ts";
import { affinityTo, placeInSplit } from "../proxy/filters/stickiness.ts";
import { isTunnel } from "../wire/tcp.ts";
import {
  formatName,
  DEFAULT_NAMESPACE,
  type Resource,
} from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { MESH, meshSettings } from "../resources/mesh/schema.ts";
import type { WorkloadResource } from "../resources/workload/schema.ts";
import type { RequestHead } from "../wire/exchange.ts";
import { fieldValue, makeField, type Field } from "../wire/fields.ts";
import { workloadsOf } from "./asked/assumed-workloads.ts";
import { believed, originOf, type AskedOrigin } from "./asked/origin.ts";

/** All that is known of a mesh, or all that one sidecar has in force. */
export interface World {
  readonly resources: readonly Resource[];
  readonly version: SnapshotVersion;
}

export interface AskedRequest extends AskedOrigin {
  readonly method: string;
  readonly url: string;
  /** Names in any case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Claims of a token that it is taken to have; absent: what it has is looked at. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** The caller: a service account with a sidecar, one sidecar with what is in force there, or somebody without a sidecar. */
export interface Caller {
  readonly side: Side;
  readonly plaintext: boolean;
}

export interface Asked {
  readonly request: AskedRequest;
  readonly caller: Caller;
  readonly calleeOf: (workload: string) => Side | undefined;
  /** "NAMESPACE/NAME" of the instance that takes it. */
  readonly workload: string | undefined;
  /** Wall milliseconds. */
  readonly wall: number;
  /** In [0, 1): which share of a split that keeps nobody to one. */
  readonly draw?: number | undefined;
}

/** The application's end of its sidecar. Calls from loopback differ by the workload's name. */
const LOOPBACK = "127.0.0.1";

export interface Explained extends CallExplanation {
  /** What is odd about the Service that is called, like a policy that another one puts out of force. */
  readonly warnings: readonly string[];
}

/** Throws UserError where the request cannot be one. */
export function explainRequest(asked: Asked): Explained {
  const { caller, request, ...rest } = asked;
  const written = headOf(request);
  const tunnel = isTunnel(written);
  const origin = originOf(request, caller.plaintext, tunnel);
  const head = believed(written, caller.plaintext, origin);
  const { snapshot } = caller.side;
  const connection = {
    originalDestination: undefined,
    remoteAddress: LOOPBACK,
  };
  const where = whereTo(snapshot, head, connection, undefined);
  const kept =
    where.kind === "mesh"
      ? affinityTo(
          where.destination.cluster,
          { head, connection },
          snapshot.self,
        )
      : undefined;
  const explanation = explainCall({
    ...rest,
    caller: { ...caller.side, plaintext: caller.plaintext },
    where,
    head,
    tunnel,
    claims: request.claims,
    fromAddress: origin.fromIp,
    serverName: origin.serverName,
    // A caller that is given its cookie with the response is drawn by chance.
    draw:
      kept === undefined || kept.edits !== undefined
        ? rest.draw
        : placeInSplit(kept),
  });
  const { backend = "the destination", workload } = explanation.outcome;
  if (
    rest.workload !== undefined &&
    workload !== undefined &&
    workload !== rest.workload
  )
    throw new UserError(
      `${rest.workload} is not a ready instance of ${backend}: the request goes to ${workload}`,
    );
  return {
    ...explanation,
    outcome: asAnswered(head, explanation.outcome),
    elsewhere: explanation.elsewhere.map((each) => ({
      ...each,
      outcome: asAnswered(head, each.outcome),
    })),
    warnings:
      where.kind === "mesh"
        ? warningsOf(snapshot.warnings, where.destination)
        : [],
  };
}

/** Those that name the Service or its port. */
function warningsOf(
  warnings: readonly string[],
  { key, service }: Destination,
): readonly string[] {
  const names = [key, formatName(service.namespace, service.name)];
  return warnings.filter((warning) =>
    warning.split(/[\s,;]+|:(?=\s|$)/).some((word) => names.includes(word)),
  );
}

/** By `rescue`: gRPC has its own status, in a response of 200. */
function asAnswered(
  { fields }: RequestHead,
  { grpcStatus, ...outcome }: Outcome,
): Outcome {
  const { answeredBy, reason } = outcome;
  if (answeredBy !== "refusal" || reason === undefined) return outcome;
  const { status, grpc } = REASONS[reason].response;
  return isGrpc(fieldValue(fields, "content-type"))
    ? { ...outcome, status: 200, grpcStatus: grpcStatus ?? GRPC_STATUSES[grpc] }
    : { ...outcome, status: outcome.status ?? status };
}

/** "http://HOST[:PORT][/PATH][?QUERY]", the path as it is: how it is normalised is for the proxy to say. CONNECT takes HOST:PORT. */
export function headOf({ method, url, headers }: AskedRequest): RequestHead {
  if (!/^[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*$/.test(method))
    throw new UserError(
      `invalid method "${method}": expected an HTTP method such as GET`,
    );
  const connects = method === "CONNECT";
  const [, scheme = "http", authority, path] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?([^/?#\s]+)([/?][^\s]*)?$/.exec(url) ?? [];
  if (authority === undefined || parseAuthority(authority) === undefined)
    throw new UserError(
      `invalid URL "${url}": expected a URL such as http://orders.shop/path?query`,
    );
  if (scheme !== "http")
    throw new UserError(
      `${url}: write http://. Applications speak plain HTTP with their sidecar, which encrypts; https through it is a tunnel: CONNECT HOST:443`,
    );
  const fields = headers.map(([name, value]) => fieldOf(name, value));
  const host = fields.find(({ name }) => name === "host")?.value;
  const said = canonicalAuthority(host ?? authority);
  if (said === undefined)
    throw new UserError(
      `invalid host "${host ?? authority}": expected a name and an optional port, such as orders.shop:80`,
    );
  return {
    method,
    scheme,
    authority: said,
    path: connects
      ? ""
      : path === undefined
        ? "/"
        : path.startsWith("?")
          ? `/${path}`
          : path,
    protocol: undefined,
    fields: fields.filter(({ name }) => name !== "host"),
    contentLength: undefined,
    acceptsTrailers: false,
    absoluteForm: false,
  };
}

function fieldOf(name: string, value: string): Field {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name))
    throw new UserError(`invalid header field name "${name}"`);
  return makeField(name.toLowerCase(), value.trim());
}

/** What the workload serves from where `world` is in force. */
export function sideOf(world: World, self: SelfDescription): Side {
  return {
    snapshot: compileSnapshot(world.resources, self, world.version),
    find: lookupIn(world.resources),
  };
}

/** By "NAMESPACE/SERVICEACCOUNT", or undefined for a caller without a sidecar, of the URL that it calls; each compiled once. */
export function callerFor(
  world: World,
): (from: string | undefined, url: string) => Caller {
  const known = new Map<string, Caller>();
  return (from, url) => {
    const key = from ?? ` ${namespaceIn(url)}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const self =
      from === undefined
        ? strangerIn(world, namespaceIn(url))
        : accountIn(world, from);
    const caller = { side: sideOf(world, self), plaintext: from === undefined };
    known.set(key, caller);
    return caller;
  };
}

/** "shop" of "http://orders.shop/". */
function namespaceIn(url: string): string {
  return (
    /^(?:[a-z]+:\/\/)?[^./:]+\.([a-z0-9-]+)/.exec(url)?.[1] ?? DEFAULT_NAMESPACE
  );
}

/** Like the first Workload that has the account, else a workload without labels. */
function accountIn(world: World, from: string): SelfDescription {
  const [namespace, serviceAccount, rest] = from.split("/");
  if (!namespace || !serviceAccount || rest !== undefined)
    throw new UserError(
      `"${from}" is not NAMESPACE/SERVICEACCOUNT, like shop/web`,
    );
  const workload = workloadsOf(world.resources).find(
    ({ metadata, spec }) =>
      metadata.namespace === namespace &&
      spec.serviceAccount === serviceAccount,
  );
  return workload === undefined
    ? {
        name: serviceAccount,
        namespace,
        serviceAccount,
        labels: {},
        identity: identityOf(world, namespace, serviceAccount),
      }
    : selfOf(world, workload);
}

/** A caller without a sidecar, which knows the instances of the Service by other means: its name leads to them wherever it is exported to. */
function strangerIn(world: World, namespace: string): SelfDescription {
  return {
    name: "",
    namespace,
    serviceAccount: "",
    labels: {},
    identity: identityOf(world, namespace, "nobody"),
  };
}

/** By "NAMESPACE/NAME" of a Workload, each compiled once for all Workloads that differ in nothing that policy sees. */
export function calleesOf(
  world: World,
): (workload: string) => Side | undefined {
  const workloads = new Map(
    workloadsOf(world.resources).map((workload) => [
      formatName(workload.metadata.namespace ?? "", workload.metadata.name),
      workload,
    ]),
  );
  const sides = new Map<string, Side>();
  return (name) => {
    const workload = workloads.get(name);
    if (workload === undefined) return undefined;
    const known = sides.get(name);
    if (known !== undefined) return known;
    const side = sideOf(world, selfOf(world, workload));
    sides.set(name, side);
    return side;
  };
}

function selfOf(
  world: World,
  { metadata, spec }: WorkloadResource,
): SelfDescription {
  const { name, namespace = "", labels = {} } = metadata;
  const serviceAccount = spec.serviceAccount ?? "default";
  return {
    name,
    namespace,
    serviceAccount,
    labels,
    identity: identityOf(world, namespace, serviceAccount),
  };
}

function identityOf(
  { resources }: World,
  namespace: string,
  serviceAccount: string,
): string {
  const mesh = resources.find((resource) => isKind(MESH, resource));
  const { trustDomain } = meshSettings(
    mesh !== undefined && isKind(MESH, mesh) ? mesh.spec : undefined,
  );
  return formatSpiffeId({ trustDomain, namespace, serviceAccount });
}
