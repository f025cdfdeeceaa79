/**
 * What a change of security policies does to the calls of the last hour, judged by the evaluator of the sidecars: which workloads a first
 * ALLOW closes, which ones the end of the last one opens (trap 2), and the calls that would fare otherwise.
 */
import {
  filterSteps,
  inSlices,
  sortSteps,
  type Pause,
  type Steps,
} from "../../core/slices.ts";
import { compileAuthentication } from "../../policy/authentication.ts";
import { applies, nameOf } from "../../policy/authorization/applies.ts";
import {
  compileAuthorization,
  type Authorizer,
} from "../../policy/authorization/authorization.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import { isInForce } from "../../resources/authorization-policy/trial.ts";
import { formatName, ROOT_NAMESPACE } from "../../resources/envelope.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import type { TargetedWorkload } from "../../resources/policy-targets.ts";
import type { PeerAuthenticationResource } from "../../resources/peer-authentication/schema.ts";
import type { LeadingServices, SeenCall } from "./observed-calls.ts";
import {
  added,
  type ObservingWorkload,
  type SeenAt,
} from "./reported-calls.ts";
import { factsOf, readsForgotten } from "./remembered.ts";
import { isPlaintext } from "./plaintext.ts";
import { add, callerOf, mergeCalls } from "./views.ts";

/** Named in a message; the others are counted. */
const MOST_NAMED = 5;

/** Policies of one kind, before and after a change. */
export interface PolicySets<P> {
  readonly before: readonly P[];
  readonly after: readonly P[];
}

type SeenCalls = Omit<SeenAt<SeenCall>, "serviceAccount">;

export interface ImpactContext {
  readonly settings: MeshSettings;
  /** All that a change may concern, whether anything was seen there or not. */
  readonly workloads: readonly ObservingWorkload[];
  readonly seen: readonly SeenCalls[];
  /** Knows the Services that policies are for. */
  readonly leading: LeadingServices;
  readonly pause: Pause;
}

/** A workload with the Services that lead to any port of it. */
type Guarded = ObservingWorkload & TargetedWorkload;

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
  const { pause, leading } = context;
  const workloads = context.workloads.map((workload): Guarded => ({
    ...workload,
    services: leading(workload),
  }));
  const allows = {
    before: await inSlices(allowsOf(sets.before), pause),
    after: await inSlices(allowsOf(sets.after), pause),
  };
  const told = new Set<string>();
  const found: (readonly string[])[] = [];
  for (const change of changes) {
    const concerned = await inSlices(
      filterSteps(workloads, (workload) => concerns(change, workload)),
      pause,
    );
    const lines = await closures(change, concerned, allows, pause);
    const fresh = concerned.filter((workload) => !told.has(pathOf(workload)));
    for (const workload of fresh) told.add(pathOf(workload));
    lines.push(...(await differences(change, fresh, sets, context)));
    found.push(lines);
    await pause();
  }
  return found;
}

function pathOf({ namespace, name }: ObservingWorkload): string {
  return formatName(namespace, name);
}

function concerns({ before, after }: PolicyChange, workload: Guarded): boolean {
  return [before, after].some(
    (policy) =>
      policy !== undefined && isInForce(policy) && applies(policy, workload),
  );
}

/** Policies of ALLOW that are in force, by namespace. */
type Allows = ReadonlyMap<string, readonly AuthorizationPolicyResource[]>;

function* allowsOf(
  policies: readonly AuthorizationPolicyResource[],
): Steps<Allows> {
  const allows = new Map<string, AuthorizationPolicyResource[]>();
  for (const policy of yield* filterSteps(policies, isAllow))
    add(allows, policy.metadata.namespace ?? "").push(policy);
  return allows;
}

function isAllow(policy: AuthorizationPolicyResource): boolean {
  return isInForce(policy) && (policy.spec.action ?? "ALLOW") === "ALLOW";
}

function allowsAt(
  policy: AuthorizationPolicyResource | undefined,
  workload: Guarded,
): boolean {
  return policy !== undefined && isAllow(policy) && applies(policy, workload);
}

async function closures(
  { before, after }: PolicyChange,
  concerned: readonly Guarded[],
  allows: { readonly before: Allows; readonly after: Allows },
  pause: Pause,
): Promise<string[]> {
  const closed: string[] = [];
  const opened: string[] = [];
  for (const workload of concerned) {
    const some = (policies: Allows): boolean =>
      [...new Set([workload.namespace, ROOT_NAMESPACE])].some((namespace) =>
        policies.get(namespace)?.some((policy) => applies(policy, workload)),
      );
    const closes = allowsAt(after, workload);
    // Where the change itself adds no ALLOW and takes none, it is neither the first nor was it the last.
    if (closes === allowsAt(before, workload)) continue;
    if (closes ? !some(allows.before) : !some(allows.after))
      (closes ? closed : opened).push(pathOf(workload));
    await pause();
  }
  return [
    ...(closed.length === 0
      ? []
      : [
          `is the first ALLOW of ${listed(await inSlices(sortSteps(closed, byText), pause))}: it closes them, and every call that no rule of an ALLOW matches is refused`,
        ]),
    ...(opened.length === 0
      ? []
      : [
          `was the last ALLOW of ${listed(await inSlices(sortSteps(opened, byText), pause))}: without it the Mesh's defaultAction decides there again`,
        ]),
  ];
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The calls of the last hour that would fare otherwise. */
async function differences(
  change: PolicyChange,
  workloads: readonly ObservingWorkload[],
  { before, after }: PolicySets<AuthorizationPolicyResource>,
  { settings, seen, leading, pause }: ImpactContext,
): Promise<string[]> {
  const paths = new Set(workloads.map(pathOf));
  const refused: SeenCall[] = [];
  const admitted: SeenCall[] = [];
  let without = 0;
  for (const { workload, calls, dropped } of seen) {
    if (!paths.has(pathOf(workload))) continue;
    without = added(without, dropped);
    const authorizerOf = (
      policies: readonly AuthorizationPolicyResource[],
      services: ReadonlySet<string>,
    ): Promise<Authorizer> =>
      inSlices(
        compileAuthorization(policies, { ...workload, services }, settings),
        pause,
      );
    // Most ports of a workload have the same guards.
    const made = new Map<string, readonly [Authorizer, Authorizer]>();
    const authorizersAt = async (
      port: number,
    ): Promise<readonly [Authorizer, Authorizer]> => {
      const services = leading(workload, port);
      const key = [...services].sort().join(" ");
      const known = made.get(key);
      if (known !== undefined) return known;
      const both = [
        await authorizerOf(before, services),
        await authorizerOf(after, services),
      ] as const;
      made.set(key, both);
      return both;
    };
    for (const call of calls) {
      if (call.policy !== "") continue;
      const [was, is] = await authorizersAt(call.port);
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
  const doubt = [change.before, change.after].some(
    (policy) => policy !== undefined && readsForgotten(policy),
  )
    ? " (callers' addresses, tokens and header fields are not remembered)"
    : "";
  return [
    ...(refused.length === 0
      ? []
      : [`would refuse calls of the last hour: ${callsText(refused)}${doubt}`]),
    ...(admitted.length === 0
      ? []
      : [
          `would let in calls that were refused: ${callsText(admitted)}${doubt}`,
        ]),
    ...droppedText(without),
  ];
}

function droppedText(calls: number): readonly string[] {
  return calls === 0
    ? []
    : [
        `up to ${calls} calls of the last hour found no room and are not judged here`,
      ];
}

/** Callers in plaintext that a port refuses from now on, for each written PeerAuthentication. */
export async function authenticationImpact(
  written: readonly PeerAuthenticationResource[],
  sets: PolicySets<PeerAuthenticationResource>,
  { settings, seen, pause }: Pick<ImpactContext, "settings" | "seen" | "pause">,
): Promise<readonly (readonly string[])[]> {
  const refused = new Map<PeerAuthenticationResource, SeenCall[]>();
  for (const { workload, calls } of seen) {
    const plain = calls.filter(isPlaintext);
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
        written.find(
          ({ metadata: { namespace = "", name } }) =>
            formatName(namespace, name) === now.policy,
        ) ?? written[0];
      if (cause !== undefined) add(refused, cause).push(call);
    }
    await pause();
  }
  return written.map((policy) => {
    const calls = refused.get(policy);
    return [
      ...(calls === undefined
        ? []
        : [
            `STRICT refuses callers that came in plaintext in the last hour: ${callsText(calls)}; see wherry status --plaintext`,
          ]),
      ...droppedText(droppedOf(policy, seen)),
    ];
  });
}

/** Calls that found no room where this policy may refuse some. */
function droppedOf(
  policy: PeerAuthenticationResource,
  seen: readonly SeenCalls[],
): number {
  const { mtls, portLevelMtls = {} } = policy.spec;
  const isStrict = [mtls, ...Object.values(portLevelMtls)].some(
    (level) => level?.mode === "STRICT",
  );
  return isStrict
    ? seen.reduce(
        (sum, { workload, dropped }) =>
          applies(policy, workload) ? added(sum, dropped) : sum,
        0,
      )
    : 0;
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
