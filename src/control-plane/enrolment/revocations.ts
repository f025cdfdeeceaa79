/** What is revoked, as the control plane itself goes by it: read from the store, followed, and taken away once it is over. */
import { hash } from "node:crypto";
import {
  parseTimestamp,
  timestamp,
  wait,
  type Clock,
} from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import { watchSource, type Watch } from "../../core/watch.ts";
import { Revoked, type Proof } from "../../identity/revoked.ts";
import { revokedOf } from "../../policy/compile/revoked.ts";
import { formatName, keyOf, type Resource } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { LONGEST_RENEWAL, LONGEST_TTL } from "../../resources/mesh/check.ts";
import {
  MESH,
  MESH_DEFAULTS,
  MESH_NAME,
  trustDomainsOf,
} from "../../resources/mesh/schema.ts";
import {
  REVOCATION,
  type RevocationResource,
} from "../../resources/revocation/schema.ts";
import { BACKDATED } from "../authority/authority.ts";
import { holderOf } from "../registry/registered-workload.ts";
import type { MeshView } from "../push/catalogue/mesh-view.ts";
import type { PushStatus } from "../push/status.ts";
import type { Registry } from "../registry/registry.ts";
import { Endings } from "../store/endings.ts";
import type { Store } from "../store/store.ts";

/** Each sidecar keeps all of them. */
export const MOST_REVOCATIONS = 1000;
/** How many of them may be of deleted Workloads; their names begin so. */
export const MOST_OF_DELETED = 900;
const OF_DELETED = "deleted.";
/** Milliseconds after which no certificate that there was can be valid, or be renewed. */
const LONGEST: number = LONGEST_TTL + LONGEST_RENEWAL;
/** Milliseconds between two looks for what is over. */
const SWEEP = 60_000;
const RETRY = 1000;
/** Milliseconds in which a certificate is signed yet, before the Revocation of a deleted Workload is written. */
const MEANWHILE = 1000;
/** Bytes that a name may have. */
const LONGEST_NAME = 253;

export interface RevocationsOptions {
  readonly store: Pick<Store, "get" | "list" | "watch" | "remove">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Resolves when what the store has of it is read. */
export async function openRevocations(
  options: RevocationsOptions,
): Promise<Revocations> {
  const revocations = new Revocations(options);
  await revocations.open();
  return revocations;
}

export class Revocations {
  readonly #options: RevocationsOptions;
  readonly #known = new Map<string, RevocationResource>();
  readonly #revoked = watchSource(Revoked.NONE);
  readonly #endings: Endings;
  readonly #closing = new AbortController();
  #trustDomains: readonly string[] = [];
  #willTell = false;
  #running: Promise<void> = Promise.resolve();
  #stopSweep: () => void = () => undefined;

  constructor(options: RevocationsOptions) {
    this.#options = options;
    this.#endings = new Endings(options.clock);
  }

  get revoked(): Watch<Revoked> {
    return this.#revoked;
  }

  /** Why the proof does not stand. */
  faultOf(proof: Proof): string | undefined {
    return this.#revoked.value.faultOf(proof, this.#endings.times);
  }

  async open(): Promise<void> {
    const { clock, logger } = this.#options;
    this.#running = this.#run(await this.#read()).catch((thrown: unknown) => {
      if (!this.#closing.signal.aborted)
        logger.error(
          { reason: messageOf(thrown) },
          "Revocations are not followed any more: a defect",
        );
    });
    const failed = defectIn(logger, "the sweep of Revocations");
    this.#stopSweep = clock.every(SWEEP, () => {
      this.#sweep().catch(failed);
    });
  }

  async close(): Promise<void> {
    this.#stopSweep();
    this.#closing.abort(new Error("the control plane is stopping"));
    await this.#running;
  }

  async #read(): Promise<number> {
    const { store } = this.#options;
    const { resources, revision } = await store.list(REVOCATION.kind);
    const mesh = await store.get({
      ...{ kind: MESH.kind, namespace: "", name: MESH_NAME },
    });
    this.#known.clear();
    if (mesh !== undefined) this.#note(mesh, true);
    for (const resource of resources) this.#note(resource, true);
    this.#tell();
    return revision;
  }

  async #run(start: number): Promise<void> {
    const { store, clock } = this.#options;
    const { signal } = this.#closing;
    let revision = start;
    while (!signal.aborted)
      try {
        for await (const { type, resource } of store.watch(revision, signal))
          if (this.#note(resource, type === "put")) this.#tellSoon();
        // The store closed.
        return;
      } catch {
        await wait(clock, RETRY, signal);
        revision = await this.#read().catch(() => revision);
      }
  }

  #note(resource: Resource, isThere: boolean): boolean {
    if (isKind(MESH, resource)) {
      const spec = isThere ? resource.spec : {};
      const { trustDomain, trustDomainAliases } = { ...MESH_DEFAULTS, ...spec };
      this.#trustDomains = trustDomainsOf({ trustDomain, trustDomainAliases });
      return true;
    }
    if (!isKind(REVOCATION, resource)) return false;
    const { name } = keyOf(resource);
    if (isThere) this.#known.set(name, resource);
    else this.#known.delete(name);
    return true;
  }

  /** Those of one write together: each change has all streams and leases looked at. */
  #tellSoon(): void {
    if (this.#willTell) return;
    this.#willTell = true;
    setImmediate(() => {
      this.#willTell = false;
      this.#tell();
    });
  }

  #tell(): void {
    this.#revoked.set(revokedOf(this.#known.values(), this.#trustDomains));
  }

  /** Nobody holds a certificate any more that it concerns, or it was to end. */
  async #sweep(): Promise<void> {
    const { store, logger } = this.#options;
    for (const resource of [...this.#known.values()]) {
      if (!this.#endings.mayErase(endOf(resource))) continue;
      const key = keyOf(resource);
      try {
        await store.remove(key, Number(resource.metadata.resourceVersion));
        logger.info({ revocation: key.name }, "a Revocation is over");
      } catch (thrown) {
        // It is looked at again.
        const reason = messageOf(thrown);
        logger.debug({ revocation: key.name, reason }, "it could not go");
      }
    }
  }
}

/** What revoked instances had registered goes, now and later. Returns the way to stop. */
export function followRevocations(
  registry: Pick<Registry, "removal">,
  { revoked }: Pick<Revocations, "revoked">,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): () => void {
  let before = revoked.value;
  const look = (next: Revoked): void => {
    const known = before;
    before = next;
    // By what is revoked now, too: it may be tried again later.
    const isOut = (instance: Proof): boolean =>
      [next, revoked.value].every(
        (each) =>
          each.claimFault(instance, [clock.wall()], known) !== undefined,
      );
    if (next.size > 0)
      registry.removal
        .ofAll(isOut)
        .catch(defectIn(logger, "the removal of revoked workloads"));
  };
  look(revoked.value);
  return revoked.subscribe(look);
}

/** Wall milliseconds. */
function endOf({ metadata, spec }: RevocationResource): number {
  const { until, beginsUpTo } = spec;
  if (until !== undefined) return parseTimestamp(until);
  const created = parseTimestamp(metadata.creationTimestamp ?? "");
  // One that is put again, for later certificates, has the time at which it was made first.
  const newest =
    beginsUpTo === undefined ? -Infinity : parseTimestamp(beginsUpTo);
  return Math.max(created, newest + BACKDATED) + LONGEST;
}

/**
 * Why no more Workloads can be deleted with these Revocations; undefined where they can. There is room left for those that an
 * administrator makes.
 */
export function deletionFault(
  mesh: Pick<MeshView, "list">,
  revocations: readonly Resource[],
): string | undefined {
  const known = new Set(
    mesh.list(REVOCATION.kind).map(({ metadata: { name } }) => name),
  );
  const ofDeleted = [...known].filter((name) => name.startsWith(OF_DELETED));
  const more = revocations.filter(({ metadata: { name } }) => !known.has(name));
  return more.length > 0 &&
    (ofDeleted.length + more.length > MOST_OF_DELETED ||
      known.size + more.length > MOST_REVOCATIONS)
    ? `too many Revocations: at most ${MOST_OF_DELETED} are of deleted Workloads, and ${MOST_REVOCATIONS} there are in all; delete it with --deregister-only, or revoke its identity`
    : undefined;
}

/**
 * What puts out the instance of a Workload that a person takes away: the certificates that it has until now, and the one that it shows, which
 * may begin later: it was issued by a clock ahead, or under an issuing certificate that has just begun. Undefined where no sidecar registered it.
 */
export function revocationOfDeleted(
  workload: Resource,
  clock: Pick<Clock, "wall">,
  push: Pick<PushStatus, "shown">,
): Resource | undefined {
  const holder = holderOf(workload);
  if (holder === undefined) return undefined;
  const { namespace, name } = keyOf(workload);
  const instance = formatName(namespace, name);
  const shown = push.shown(`${instance} ${holder}`)?.trust.issuedAt ?? 0;
  const wall = clock.wall();
  return {
    apiVersion: REVOCATION.apiVersion,
    kind: REVOCATION.kind,
    metadata: { name: nameOfDeleted(namespace, name) },
    spec: {
      instance,
      beginsUpTo: timestamp(Math.max(wall + MEANWHILE, shown) - BACKDATED),
      reason: "its Workload was deleted",
    },
  };
}

/** Another one for each Workload, however long its name is. */
function nameOfDeleted(namespace: string, name: string): string {
  const whole = `deleted.${namespace}.${name}`;
  if (whole.length <= LONGEST_NAME) return whole;
  const end = hash("sha256", whole).slice(0, 16);
  return `${whole.slice(0, LONGEST_NAME - end.length - 2)}.x${end}`;
}
