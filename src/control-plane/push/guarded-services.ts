/** The Services to which an older sidecar makes no calls: a policy of theirs asks for TLS, it does not know that, and would speak plaintext. */
import { resourceName } from "../../push/names.ts";
import { hasTls } from "../../push/stand-in.ts";
import { isKind } from "../../resources/kind.ts";
import { SERVICE } from "../../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../resources/traffic-policy/schema.ts";
import type { Entry } from "./catalogue/item.ts";
import type { Sayings } from "./catalogue/saying.ts";

/** For one sidecar. */
export class GuardedServices {
  readonly #sayings: Sayings;
  /** The Services that the sidecar should hold, by their names. */
  readonly #services = new Map<string, Entry>();
  /** How many policies guard it, by a Service's name. */
  readonly #guards = new Map<string, number>();
  readonly #moved = new Set<string>();

  constructor(sayings: Sayings) {
    this.#sayings = sayings;
  }

  /** What the sidecar should hold has changed. */
  note(before: Entry | undefined, after: Entry | undefined): void {
    for (const [entry, step] of [
      [before, -1],
      [after, 1],
    ] as const)
      for (const name of this.#guardedBy(entry)) this.#count(name, step);
    if (isService(before)) this.#services.delete(before.name);
    if (isService(after)) this.#services.set(after.name, after);
  }

  has({ name }: Entry): boolean {
    return this.#guards.has(name);
  }

  /** Those that are guarded now and were not, or the other way round, since the last call. */
  moved(): readonly Entry[] {
    const names = [...this.#moved];
    this.#moved.clear();
    return names.flatMap((name) => this.#services.get(name) ?? []);
  }

  #count(name: string, step: 1 | -1): void {
    const guards = (this.#guards.get(name) ?? 0) + step;
    if (guards > 0) this.#guards.set(name, guards);
    else this.#guards.delete(name);
    this.#moved.add(name);
  }

  #guardedBy(entry: Entry | undefined): readonly string[] {
    const { resource } = entry ?? {};
    if (
      entry === undefined ||
      resource === undefined ||
      !isKind(TRAFFIC_POLICY, resource) ||
      !hasTls(resource) ||
      this.#sayings.of(entry).kind === "said"
    )
      return [];
    const { namespace = "" } = resource.metadata;
    return resource.spec.targetRefs.map(({ name }) =>
      resourceName({ kind: SERVICE.kind, namespace, name }),
    );
  }
}

function isService(entry: Entry | undefined): entry is Entry {
  return entry?.resource?.kind === SERVICE.kind;
}
