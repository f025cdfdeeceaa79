/** Removes the list of a request in one transaction of the store: what may go with whole namespaces, or with `atomic` all of it or nothing. */
import { inTurnOfItsOwn, pauses, type Pause } from "../../../core/slices.ts";
import {
  formatKey,
  type Resource,
  type ResourceKey,
} from "../../../resources/envelope.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import { kindOf } from "../../../resources/registry.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import {
  deletionFault,
  revocationOfDeleted,
} from "../../enrolment/revocations.ts";
import type { MeshView } from "../../push/catalogue/mesh-view.ts";
import type { Put } from "../../store/store.ts";
import type { Principal } from "../../tokens.ts";
import { refusal } from "../rights/access.ts";
import { isObject } from "../../../core/text/json.ts";
import { impactOfRemovals } from "../../policy-impact.ts";
import { ApiError, type Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { leaseRefusal, meshRefusal } from "../rights/write-rights.ts";
import {
  duplicate,
  faulty,
  fieldAt,
  problemsOf,
  readEach,
  type Fault,
  type FaultyItem,
  type Head,
  type ListRequest,
} from "./list.ts";
import { atMost } from "./refusals.ts";
import {
  NOT_DONE,
  resultOf,
  type Done,
  type ListResult,
  type OutcomeOf,
} from "./result.ts";

/** `missing`: there is none of that name. */
const REMOVED = ["deleted", "missing"] as const;

export const REMOVALS: readonly RemovalOutcome[] = [...REMOVED, ...NOT_DONE];

type Removed = (typeof REMOVED)[number];

type RemovalOutcome = OutcomeOf<Removed>;

export interface DeleteResult extends ListResult<"DeleteResult", Removed> {
  /** What the removal opens, and which calls it would let in. */
  readonly warnings: readonly Cause[];
}

/** Whatever else the item says of a resource, its key is what goes. */
interface Target extends Head {
  readonly key: ResourceKey;
  readonly fault?: undefined;
}

/** Throws ApiError where nothing of the list may be removed. */
export async function deleteList(
  options: ApiOptions,
  request: ListRequest<RemovalOutcome>,
): Promise<DeleteResult> {
  const { principal, body, atomic } = request;
  const pause = pauses(options.clock);
  const seen = new Map<string, number>();
  const read = await readEach(body, pause, (head, value) =>
    targetIn(head, value, principal, seen),
  );
  const items: (Target | FaultyItem)[] = [];
  for (const item of read) {
    items.push(
      item.fault === undefined ? await allowed(item, principal, options) : item,
    );
    await pause();
  }
  const faults = new Map<number, Fault>();
  const refused = new Set<string>();
  for (const { index, namespace, fault } of items)
    if (fault !== undefined) {
      faults.set(index, fault);
      refused.add(namespace);
    }
  const targets = items
    .filter((item) => item.fault === undefined)
    .filter(({ namespace }) =>
      atomic ? refused.size === 0 : !refused.has(namespace),
    );
  const { mesh } = await options.mesh.current();
  const impact = await impactOfRemovals(
    targets.map(({ key }) => key),
    mesh,
    options.observed,
    pause,
  );
  await putOut(targets, request, options, mesh);
  const before = await remove(targets, request, options, pause);
  const done = new Map<number, Done<Removed>>(
    targets.map(({ index }, at) => [
      index,
      { outcome: before[at] === undefined ? "missing" : "deleted" },
    ]),
  );
  const warnings = targets.flatMap(({ index }, at) =>
    (impact[at] ?? []).map((message) => ({
      field: fieldAt(index, ""),
      message,
    })),
  );
  const { causes, ...result } = await resultOf(
    "DeleteResult",
    items,
    { faults, done },
    request,
    options,
    pause,
  );
  return { ...result, warnings: atMost(warnings), causes };
}

function targetIn(
  head: Head,
  value: unknown,
  principal: Principal,
  seen: Map<string, number>,
): Target | FaultyItem {
  const { kind, namespace, name = "" } = head;
  const why = refusal(principal, "write", namespace);
  if (why !== undefined)
    return faulty(head, "Forbidden", { path: "", message: why });
  const apiVersion = isObject(value) ? value["apiVersion"] : undefined;
  const definition = kindOf(
    typeof apiVersion === "string" ? apiVersion : "",
    kind ?? "",
  );
  if (definition === undefined)
    return faulty(head, "Invalid", ...problemsOf(value));
  // A head has no more of a name than a resource may have.
  if (name === "" || name !== nameIn(value))
    return faulty(head, "Invalid", {
      path: "metadata.name",
      message: name === "" ? "is required" : "has more than 253 characters",
    });
  const key = { kind: definition.kind, namespace, name };
  return duplicate(head, formatKey(key), seen) ?? { ...head, key };
}

function nameIn(value: unknown): unknown {
  const metadata = isObject(value) ? value["metadata"] : undefined;
  return isObject(metadata) ? metadata["name"] : undefined;
}

/** The same item, or why it has to stay. */
async function allowed(
  target: Target,
  principal: Principal,
  options: ApiOptions,
): Promise<Target | FaultyItem> {
  const { key } = target;
  const why =
    key.kind === MESH.kind && (await options.store.get(key)) !== undefined
      ? meshRefusal(key)
      : leaseRefusal(options, principal, key);
  return why === undefined
    ? target
    : faulty(target, "Forbidden", { path: "", message: why });
}

/** Throws ApiError: the sidecar of one of them may have come since it was judged. */
function judgeLeases(
  targets: readonly Target[],
  { principal }: ListRequest<RemovalOutcome>,
  options: ApiOptions,
): void {
  for (const { key } of targets) {
    const why = leaseRefusal(options, principal, key);
    if (why !== undefined) throw new ApiError("Forbidden", why);
  }
}

/** The instances of the Workloads among them. Throws ApiError where that would be too many Revocations. */
async function putOut(
  targets: readonly Target[],
  request: ListRequest<RemovalOutcome>,
  options: ApiOptions,
  mesh: MeshView,
): Promise<void> {
  const { store, clock, push } = options;
  const puts: Put[] = [];
  for (const { key } of targets) {
    if (key.kind !== WORKLOAD.kind) continue;
    const found = await store.get(key);
    const resource = found && revocationOfDeleted(found, clock, push);
    if (resource !== undefined) puts.push({ resource, expected: undefined });
  }
  const fault = deletionFault(
    mesh,
    puts.map(({ resource }) => resource),
  );
  if (fault !== undefined) throw new ApiError("Conflict", fault);
  if (puts.length === 0 || request.dryRun) return;
  judgeLeases(targets, request, options);
  await store.transact(puts, request.author);
}

/** What was there of each. */
async function remove(
  targets: readonly Target[],
  request: ListRequest<RemovalOutcome>,
  options: ApiOptions,
  pause: Pause,
): Promise<readonly (Resource | undefined)[]> {
  const { store } = options;
  if (!request.dryRun)
    return inTurnOfItsOwn(() => {
      judgeLeases(targets, request, options);
      return store.removeAll(
        targets.map(({ key }) => ({ key, expected: undefined })),
        request.author,
      );
    });
  const there: (Resource | undefined)[] = [];
  for (const { key } of targets) {
    there.push(await store.get(key));
    await pause();
  }
  return there;
}
