/**
 * What a change of security policies does to the calls of the last hour, judged by the evaluator of the sidecars: which workloads a first
 * ALLOW closes, which ones the end of the last one opens (trap 2), and the calls that would fare otherwise.
 */
import { inSlices, type Pause } from "../../core/slices.ts";
import { compileAuthentication } from "../../policy/authentication.ts";
import { applies, nameOf } from "../../policy/authorization/applies.ts";
import {
  compileAuthorization,
  type Authorizer,
} from "../../policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../policy/authorization/call.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import { isInForce } from "../../resources/authorization-policy/trial.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import type { PeerAuthenticationResource } from "../../resources/peer-authentication/schema.ts";
import type { ObservingWorkload, SeenAt, SeenCall } from "./observed-calls.ts";
import { callerOf, mergeCalls } from "./views.ts";

/** Named in a message; the others are counted. */
const MOST_NAMED = 5;

/** Policies of one kind, before and after a change. */
export interface PolicySets<P> {
  readonly before: readonly P[];
  readonly after: readonly P[];
}

export interface ImpactContext {
  readonly settings: MeshSettings;
  /** All that there are, whether anything was seen there or not. */
  readonly workloads: readonly ObservingWorkload[];
  readonly seen: readonly SeenAt[];
  readonly pause: Pause;
}

/** One policy that is written or removed. */
export interface PolicyChange {
  readonly before: AuthorizationPolicyResource | undefined;
  readonly after: AuthorizationPolicyResource | undefined;
}

/** What is to be said of each change, in their order. Where two changes concern a workload, the first one names its calls. */
export async function authorizationImpact(
  changes: readonly PolicyChange[],
  sets: PolicySets<AuthorizationPolicyResource>,
  context: ImpactContext,
): Promise<readonly (readonly string[])[]> {
  const told = new Set<string>();
  const found: (readonly string[])[] = [];
  for (const change of changes) {
    const concerned = context.workloads.filter((workload) =>
      concerns(change, workload),
    );
    const lines = closures(change, concerned, sets);
    const fresh = concerned.filter((workload) => !told.has(pathOf(workload)));
    for (const workload of fresh) told.add(pathOf(workload));
    lines.push(...(await differences(fresh, sets, context)));
    found.push(lines);
    await context.pause();
  }
  return found;
}

function pathOf({ namespace, name }: ObservingWorkload): string {
  return `${namespace}/${name}`;
}

function concerns(
  { before, after }: PolicyChange,
  workload: ObservingWorkload,
): boolean {
  return [before, after].some(
    (policy) =>
      policy !== undefined && isInForce(policy) && applies(policy, workload),
  );
}

function allowsAt(
  policy: AuthorizationPolicyResource | undefined,
  workload: ObservingWorkload,
): boolean {
  if (policy === undefined || !isInForce(policy)) return false;
  const { action = "ALLOW" } = policy.spec;
  return action === "ALLOW" && applies(policy, workload);
}

function closures(
  { before, after }: PolicyChange,
  concerned: readonly ObservingWorkload[],
  sets: PolicySets<AuthorizationPolicyResource>,
): string[] {
  const closed: string[] = [];
  const opened: string[] = [];
  for (const workload of concerned) {
    const some = (policies: readonly AuthorizationPolicyResource[]): boolean =>
      policies.some((policy) => allowsAt(policy, workload));
    const [had, has] = [some(sets.before), some(sets.after)];
    if (!had && has && allowsAt(after, workload)) closed.push(pathOf(workload));
    if (had && !has && allowsAt(before, workload))
      opened.push(pathOf(workload));
  }
  return [
    ...(closed.length === 0
      ? []
      : [
          `is the first ALLOW of ${listed(closed)}: it closes them, and every call that no rule of an ALLOW matches is refused`,
        ]),
    ...(opened.length === 0
      ? []
      : [
          `was the last ALLOW of ${listed(opened)}: without it the Mesh's defaultAction decides there again`,
        ]),
  ];
}

/** The calls of the last hour that would fare otherwise. */
async function differences(
  workloads: readonly ObservingWorkload[],
  { before, after }: PolicySets<AuthorizationPolicyResource>,
  { settings, seen, pause }: ImpactContext,
): Promise<string[]> {
  const paths = new Set(workloads.map(pathOf));
  const refused: SeenCall[] = [];
  const admitted: SeenCall[] = [];
  for (const { workload, calls } of seen) {
    if (!paths.has(pathOf(workload))) continue;
    const authorizerOf = (
      policies: readonly AuthorizationPolicyResource[],
    ): Promise<Authorizer> =>
      inSlices(compileAuthorization(policies, workload, settings), pause);
    const [was, is] = [await authorizerOf(before), await authorizerOf(after)];
    for (const call of calls) {
      if (call.policy !== "") continue;
      const facts = factsOf(call);
      const [had, has] = [
        was.authorize(facts).kind === "allow",
        is.authorize(facts).kind === "allow",
      ];
      if (had && !has) refused.push(call);
      if (!had && has) admitted.push(call);
    }
    await pause();
  }
  return [
    ...(refused.length === 0
      ? []
      : [`would refuse calls of the last hour: ${callsText(refused)}`]),
    ...(admitted.length === 0
      ? []
      : [`would let in calls that were refused: ${callsText(admitted)}`]),
  ];
}

/** Header fields are not remembered: a rule that asks for one finds none. */
function factsOf({
  peer,
  address,
  port,
  method,
  host,
  path,
}: SeenCall): AuthorizationFacts {
  return {
    peer: peer === "" ? undefined : peer,
    port,
    connection: {
      remoteAddress: address === "" ? undefined : address,
      localAddress: undefined,
    },
    request:
      method === ""
        ? undefined
        : { method, host, path, header: () => undefined },
  };
}

/** Callers in plaintext that a port refuses from now on, for each written PeerAuthentication. */
export async function authenticationImpact(
  written: readonly PeerAuthenticationResource[],
  sets: PolicySets<PeerAuthenticationResource>,
  { settings, seen, pause }: ImpactContext,
): Promise<readonly (readonly string[])[]> {
  const refused = new Map<PeerAuthenticationResource, SeenCall[]>();
  for (const { workload, calls } of seen) {
    const plain = calls.filter(
      ({ policy, peer }) => policy === "" && peer === "",
    );
    if (plain.length === 0) continue;
    const modesOf = (
      policies: readonly PeerAuthenticationResource[],
    ): ReturnType<typeof compileAuthentication> =>
      compileAuthentication(policies, workload, settings.mtls.mode);
    const was = await inSlices(modesOf(sets.before), pause);
    const is = await inSlices(modesOf(sets.after), pause);
    for (const call of plain) {
      const now = is.port(call.port);
      if (was.port(call.port).mode === "STRICT" || now.mode !== "STRICT")
        continue;
      const cause =
        written.find((policy) => nameOfAny(policy) === now.policy) ??
        written[0];
      if (cause !== undefined)
        refused.set(cause, [...(refused.get(cause) ?? []), call]);
    }
    await pause();
  }
  return written.map((policy) => {
    const calls = refused.get(policy);
    return calls === undefined
      ? []
      : [
          `STRICT refuses callers that came in plaintext in the last hour: ${callsText(calls)}; see wherry status --plaintext`,
        ];
  });
}

function nameOfAny({ metadata }: PeerAuthenticationResource): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function callsText(calls: readonly SeenCall[]): string {
  const merged = mergeCalls(calls, (call) =>
    [callerOf(call), call.method, call.path, call.port].join(" "),
  );
  return listed(
    merged.map(
      (call) =>
        `${callerOf(call)} ${call.method === "" ? "by TCP" : `${call.method} ${call.path === "" ? "(other paths)" : call.path}`} on port ${call.port} (${call.count} times)`,
    ),
  );
}

function listed(names: readonly string[]): string {
  const more = names.length - MOST_NAMED;
  return `${names.slice(0, MOST_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** By "NAMESPACE/NAME": with what is written in the place of what was there, and without what is removed. */
export function changed(
  before: readonly AuthorizationPolicyResource[],
  changes: readonly PolicyChange[],
): readonly AuthorizationPolicyResource[] {
  const gone = new Set(
    changes.flatMap(({ before: was, after }) =>
      [was, after].flatMap((policy) =>
        policy === undefined ? [] : [nameOf(policy)],
      ),
    ),
  );
  return [
    ...before.filter((policy) => !gone.has(nameOf(policy))),
    ...changes.flatMap(({ after }) => (after === undefined ? [] : [after])),
  ];
}
