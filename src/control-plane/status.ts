/** The conditions of resources, computed when they are read: they follow from what the store and the sidecars hold, so none is stored. */
import {
  conflicts,
  type Conflict,
} from "../resources/cross-checks/conflicts.ts";
import {
  formatKey,
  formatName,
  keyOf,
  type Condition,
  type Resource,
} from "../resources/envelope.ts";
import { checkForeignMetadata } from "../resources/foreign-metadata.ts";
import { isKind, type Problem } from "../resources/kind.ts";
import { MESH, meshSettings } from "../resources/mesh/schema.ts";
import {
  checkReach,
  reachOf,
  type Reach,
} from "../resources/cross-checks/reach.ts";
import { checkReferences } from "../resources/cross-checks/references.ts";
import { kindOf, KINDS } from "../resources/registry.ts";
import { unreachableMatches } from "../resources/cross-checks/unreachable.ts";
import type { InForce, PushStatus } from "./push/status.ts";
import type { Store } from "./store/store.ts";

/** The same resources, each with its status. */
export type WithStatus = (
  resources: readonly Resource[],
) => Promise<readonly Resource[]>;

/** Named in a message; `GET /status` has them all. */
const MOST_REFUSALS = 5;

/** What all conditions of one revision are computed from. */
interface View {
  readonly byKey: ReadonlyMap<string, Resource>;
  readonly losses: ReadonlyMap<string, readonly Conflict[]>;
  readonly ownDoubts: Checked;
  readonly reach: Reach;
  /** By the route's key. */
  readonly unreachable: ReadonlyMap<string, readonly Problem[]>;
}

type ReadableStore = Pick<Store, "revision" | "list">;

export function makeStatusReader(
  store: ReadableStore,
  push: PushStatus,
): WithStatus {
  const checked = makeChecked();
  let latest: Promise<View> | undefined;
  let latestRevision = -1;

  /** One view a revision, however many ask. */
  const view = async (): Promise<View> => {
    const revision = await store.revision();
    if (latest === undefined || revision !== latestRevision) {
      latestRevision = revision;
      latest = readView(store, checked);
    }
    try {
      return await latest;
    } catch (thrown) {
      latest = undefined;
      throw thrown;
    }
  };

  return async (resources) => {
    if (resources.length === 0) return [];
    const seen = await view();
    const refusals = push
      .status()
      .flatMap(({ namespace, name, refused }) =>
        refused === undefined
          ? []
          : [`${formatName(namespace, name)}: ${refused.reason}`],
      )
      .slice(0, MOST_REFUSALS);
    return resources.map((resource) => ({
      ...resource,
      status: { conditions: conditionsOf(resource, seen, push, refusals) },
    }));
  };
}

async function readView(
  store: ReadableStore,
  ownDoubts: Checked,
): Promise<View> {
  const listings = await Promise.all(KINDS.map(({ kind }) => store.list(kind)));
  const all = listings.flatMap(({ resources }) => resources);
  const losses = new Map<string, Conflict[]>();
  for (const loss of conflicts(all)) {
    const key = formatKey(keyOf(loss.loser));
    losses.set(key, [...(losses.get(key) ?? []), loss]);
  }
  const unreachable = Map.groupBy(unreachableMatches(all), ({ route }) =>
    formatKey(keyOf(route)),
  );
  const mesh = all.find((resource) => isKind(MESH, resource));
  return {
    ownDoubts,
    reach: reachOf(all, meshSettings(mesh?.spec).trustDomain, true),
    unreachable,
    byKey: new Map(
      all.map((resource) => [formatKey(keyOf(resource)), resource]),
    ),
    losses,
  };
}

function conditionsOf(
  resource: Resource,
  view: View,
  push: PushStatus,
  refusals: readonly string[],
): readonly Condition[] {
  const key = keyOf(resource);
  const { generation, resourceVersion = "" } = resource.metadata;
  const problems = checkReferences(resource, (wanted) =>
    view.byKey.get(formatKey(wanted)),
  );
  const losses = view.losses.get(formatKey(key)) ?? [];
  const conditions = [
    accepted(losses, doubtsOf(resource, view)),
    resolvedRefs(problems),
    programmed(push.inForce(key, resourceVersion), refusals),
    conflicted(losses),
  ];
  return generation === undefined
    ? conditions
    : conditions.map((condition) => ({
        ...condition,
        observedGeneration: generation,
      }));
}

/** What is accepted and yet cannot act, or cannot act now. */
function doubtsOf(resource: Resource, view: View): readonly Problem[] {
  return [
    ...view.ownDoubts(resource),
    ...checkReach(resource, view.reach),
    ...(view.unreachable.get(formatKey(keyOf(resource))) ?? []),
  ];
}

/** What is odd about a resource by itself. */
type Checked = (resource: Resource) => readonly Problem[];

/** So many resources are remembered at most; beyond, all are checked anew. */
const MOST_CHECKED = 20_000;

/** To check a resource may compile its expressions: once a version of it, however often it is read. */
function makeChecked(): Checked {
  const known = new Map<
    string,
    { readonly version: string; readonly problems: readonly Problem[] }
  >();
  return (resource) => {
    const key = formatKey(keyOf(resource));
    const { resourceVersion: version = "" } = resource.metadata;
    const found = known.get(key);
    if (found?.version === version) return found.problems;
    const { apiVersion, kind } = resource;
    const problems = [
      ...checkForeignMetadata(resource),
      ...(kindOf(apiVersion, kind)?.check(resource) ?? []),
    ];
    if (known.size >= MOST_CHECKED) known.clear();
    known.set(key, { version, problems });
    return problems;
  };
}

function accepted(
  losses: readonly Conflict[],
  doubts: readonly Problem[],
): Condition {
  const message = [
    losses.length === 0
      ? "valid"
      : "valid, but another resource comes first: see Conflicted",
    ...doubts.map(({ path, message }) => `${path}: ${message}`),
  ].join("; ");
  return { type: "Accepted", status: "True", reason: "Accepted", message };
}

function resolvedRefs(problems: readonly Problem[]): Condition {
  return problems.length === 0
    ? {
        type: "ResolvedRefs",
        status: "True",
        reason: "ResolvedRefs",
        message: "everything that it refers to is there",
      }
    : {
        type: "ResolvedRefs",
        status: "False",
        reason: "RefNotFound",
        message: problems
          .map(({ path, message }) => `${path}: ${message}`)
          .join("; "),
      };
}

/** `of` counts the connected sidecars that need the resource. */
function programmed(
  { have, of, refused }: InForce,
  refusals: readonly string[],
): Condition {
  const count = `in force at ${have} of ${of} sidecars`;
  const condition = { type: "Programmed", message: count } as const;
  if (refused > 0)
    return {
      ...condition,
      status: "False",
      reason: "Refused",
      message: [`${count}, refused by ${refused}`, ...refusals].join("; "),
    };
  if (of === 0) return { ...condition, status: "Unknown", reason: "NoSidecar" };
  return have === of
    ? { ...condition, status: "True", reason: "Programmed" }
    : { ...condition, status: "False", reason: "Pending" };
}

function conflicted(losses: readonly Conflict[]): Condition {
  return losses.length === 0
    ? {
        type: "Conflicted",
        status: "False",
        reason: "NoConflicts",
        message: "no other resource claims the same",
      }
    : {
        type: "Conflicted",
        status: "True",
        reason: losses[0]?.reason ?? "OlderResourceWins",
        message: losses.map(({ message }) => message).join("; "),
      };
}
