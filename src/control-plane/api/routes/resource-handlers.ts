/** What the verbs of the API do to one kind: each is validate → write, once the route has let the caller in (`rights/callers.ts`). */
import { filterSteps, inSlices, pauses } from "../../../core/slices.ts";
import {
  deletionFault,
  revocationOfDeleted,
} from "../../enrolment/revocations.ts";
import { isObject } from "../../../core/text/json.ts";
import {
  formatKey,
  formatName,
  type Resource,
  type ResourceKey,
} from "../../../resources/envelope.ts";
import type { KindDefinition } from "../../../resources/kind.ts";
import { MESH } from "../../../resources/mesh/schema.ts";
import { impactOfRemovals } from "../../policy-impact.ts";
import { ConflictError } from "../../store/store.ts";
import { checkExpected, nextVersion, revisionOf } from "../../store/write.ts";
import type { StatusReader } from "../../status.ts";
import type { Author } from "../../audit/audit.ts";
import type { Principal } from "../../tokens.ts";
import {
  statedVersion,
  validateResource,
  type ValidResource,
} from "../resource-validation.ts";
import { ApiError, success, type StatusBody } from "../errors.ts";
import {
  MOST_TERMS,
  parseLabelSelector,
  type LabelSelector,
} from "../label-selector.ts";
import { mergePatch } from "../merge-patch.ts";
import type { ApiOptions } from "../options.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import { isFullAdmin, readsOf } from "../rights/access.ts";
import {
  leaseRefusal,
  meshRefusal,
  writeRefusal,
} from "../rights/write-rights.ts";

/** Where a request goes, and its principal. */
export interface Target {
  readonly principal: Principal;
  /** Made where it is asked for: most requests only read. */
  readonly author: () => Author;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

export interface ResourceList {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly Resource[];
}

/** A list, and what gives its items their statuses. */
export interface Listed {
  readonly list: ResourceList;
  readonly complete: StatusReader;
}

export interface Written {
  readonly created: boolean;
  readonly resource: Resource;
  readonly warnings: readonly string[];
}

export interface Removed {
  readonly status: StatusBody;
  readonly warnings: readonly string[];
}

/** A write that meets a faster one is judged and made again on what that one left, so often. */
const MOST_TRIES = 8;

export class ResourceHandlers {
  readonly #options: ApiOptions;
  readonly #definition: KindDefinition;

  constructor(options: ApiOptions, definition: KindDefinition) {
    this.#options = options;
    this.#definition = definition;
  }

  async list(target: Target, selector: string | undefined): Promise<Listed> {
    const { kind, apiVersion } = this.#definition;
    const matches = readSelector(selector);
    const { mesh, revision } = await this.#options.mesh.current();
    const items = await inSlices(
      filterSteps(mesh.list(kind, target.namespace), ({ metadata }) =>
        matches(metadata.labels),
      ),
      pauses(this.#options.clock),
    );
    const list = {
      apiVersion,
      kind: `${kind}List`,
      metadata: { resourceVersion: String(revision) },
      items,
    };
    const mayRead = readsOf(target.principal);
    return { list, complete: await this.#options.openStatus(mayRead) };
  }

  async get(target: Target): Promise<Resource> {
    const found = await this.#find(target);
    const mayRead = readsOf(target.principal);
    const complete = await this.#options.openStatus(mayRead);
    return complete(found);
  }

  async create(
    target: Target,
    body: unknown,
    dryRun: boolean,
  ): Promise<Written> {
    const valid = await this.#validate(target, body);
    return this.#write(target, valid, "absent", dryRun);
  }

  async replace(
    target: Target,
    body: unknown,
    dryRun: boolean,
  ): Promise<Written> {
    const valid = await this.#validate(target, body);
    const stated = statedVersion(body);
    return onceMore(stated === undefined, () =>
      this.#write(target, valid, stated, dryRun),
    );
  }

  async patch(
    target: Target,
    patch: unknown,
    dryRun: boolean,
  ): Promise<Written> {
    return onceMore(statedVersion(patch) === undefined, () =>
      this.#patchOnce(target, patch, dryRun),
    );
  }

  /** `stays`: a Workload's instance is not put out with it. */
  async remove(
    target: Target,
    { dryRun, stays }: { readonly dryRun: boolean; readonly stays: boolean },
  ): Promise<Removed> {
    const { kind } = this.#definition;
    const found = await this.#find(target);
    const { name, namespace = "" } = found.metadata;
    const key = this.#keyOf(namespace, name);
    forbid(kind === MESH.kind ? meshRefusal(key) : undefined);
    const judgeLease = (): void =>
      forbid(leaseRefusal(this.#options, target.principal, key));
    judgeLease();
    const { mesh, observed, clock, store, push } = this.#options;
    const view = (await mesh.current()).mesh;
    const pause = pauses(clock);
    const [warnings = []] = await impactOfRemovals(
      [key],
      view,
      observed,
      pause,
    );
    const revocation = stays
      ? undefined
      : revocationOfDeleted(found, clock, push);
    const fault = deletionFault(view, revocation ? [revocation] : []);
    if (fault !== undefined) throw new ApiError("Conflict", fault);
    if (!dryRun) {
      const author = target.author();
      // Its sidecar may have come meanwhile.
      judgeLease();
      if (revocation !== undefined) {
        await store.put(revocation, undefined, author);
        judgeLease();
      }
      await store.remove(key, undefined, author);
    }
    const status = success(`${kind} ${formatName(namespace, name)} deleted`);
    return { status, warnings };
  }

  #keyOf(namespace: string | undefined, name: string): ResourceKey {
    const { kind } = this.#definition;
    return { kind, namespace: namespace ?? "", name };
  }

  #validate(
    { namespace, name }: Target,
    body: unknown,
  ): Promise<ValidResource> {
    const url = { definition: this.#definition, namespace, name };
    return validateResource(body, url, this.#options.checkInPlace);
  }

  /** Throws ApiError NotFound. */
  async #find(target: Target): Promise<Resource> {
    const key = this.#keyOf(target.namespace, target.name ?? "");
    const found = await this.#options.store.get(key);
    if (found === undefined)
      throw new ApiError("NotFound", `${formatKey(key)} does not exist`);
    return found;
  }

  async #write(
    target: Target,
    { resource, warnings }: ValidResource,
    expected: number | "absent" | undefined,
    dryRun: boolean,
  ): Promise<Written> {
    const { store, clock } = this.#options;
    const key = this.#keyOf(target.namespace, resource.metadata.name);
    const before = await store.get(key);
    forbid(writeRefusal(this.#options, target.principal, resource, before));
    const created = before === undefined;
    if (!dryRun) {
      // What was allowed in place of this Workload may not be allowed in place of another, or of none.
      const judged =
        resource.kind === WORKLOAD.kind && !isFullAdmin(target.principal)
          ? (expected ?? revisionOf(before) ?? "absent")
          : expected;
      const put = store.put(resource, judged, target.author());
      return { created, resource: await put, warnings };
    }
    checkExpected(key, expected, before);
    const next = nextVersion(
      before,
      resource,
      revisionOf(before) ?? 0,
      clock.wall(),
    );
    const outcome = next ?? before ?? resource;
    return {
      created,
      resource: created ? withoutVersion(outcome) : outcome,
      warnings,
    };
  }

  async #patchOnce(
    target: Target,
    patch: unknown,
    dryRun: boolean,
  ): Promise<Written> {
    const before = await this.#find(target);
    const body = mergePatch(before, withoutOwned(patch));
    const valid = await this.#validate(target, body);
    const expected = statedVersion(patch) ?? revisionOf(before);
    return this.#write(target, valid, expected, dryRun);
  }
}

/** `mayRepeat`: the writer has not said which version it means. */
async function onceMore(
  mayRepeat: boolean,
  write: () => Promise<Written>,
): Promise<Written> {
  for (let tries = 1; ; tries += 1)
    try {
      return await write();
    } catch (thrown) {
      const repeats =
        thrown instanceof ConflictError && mayRepeat && tries < MOST_TRIES;
      if (!repeats) throw thrown;
    }
}

/** Throws ApiError Forbidden where there is a reason why not. */
function forbid(why: string | undefined): void {
  if (why !== undefined) throw new ApiError("Forbidden", why);
}

/** Throws ApiError BadRequest. */
export function readSelector(text: string | undefined): LabelSelector {
  const selector = parseLabelSelector(text ?? "");
  if (selector === undefined) {
    const message = `invalid label selector: expected at most ${MOST_TERMS} terms and values, such as "app=web,version!=v1,tier in (a,b),!old"`;
    throw new ApiError("BadRequest", `the query is invalid: ${message}`, [
      { field: "labelSelector", message },
    ]);
  }
  return selector;
}

/** A patch may carry status and what the store owns, as output does: they are not patched. */
function withoutOwned(patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const { status: _status, ...rest } = patch;
  return rest;
}

/** What was only tried has no version that a writer could go on from. */
function withoutVersion(resource: Resource): Resource {
  const { resourceVersion: _version, ...metadata } = resource.metadata;
  return { ...resource, metadata };
}
