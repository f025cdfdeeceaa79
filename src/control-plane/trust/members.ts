/** Which sidecars a rotation waits for: those that are connected, those whose Workloads are registered, and for a moment those that have just left. */
import type { Clock } from "../../core/clock.ts";
import type { MonotonicMs } from "../../core/units.ts";
import { TRUST_SINCE } from "../../push/names.ts";
import type { PushStatus, SidecarStatus } from "../push/status.ts";
import type { Registry } from "../registry/registry.ts";
import type { Member } from "./rotation.ts";

export interface MembersOptions {
  readonly push: Pick<PushStatus, "status">;
  readonly registry: Pick<Registry, "registered" | "lease">;
  readonly clock: Pick<Clock, "now">;
}

/** Milliseconds: a sidecar that has no Workload, and comes back within that, is not lost. */
const JUST_LEFT = 60_000;

export class Members {
  readonly #options: MembersOptions;
  /** When each was seen on a stream last. */
  readonly #seen = new Map<string, MonotonicMs>();

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  /** By their names. Ask every few seconds while they matter. */
  async look(): Promise<readonly Member[]> {
    const { push, registry, clock } = this.#options;
    const sidecars = await push.status();
    const leased = new Set(registry.registered);
    const now = clock.now();
    for (const { connected, ...sidecar } of sidecars)
      if (connected) this.#seen.set(nameOf(sidecar), now);
    for (const [name, seen] of this.#seen)
      if (now - seen >= JUST_LEFT) this.#seen.delete(name);
    const members: Member[] = [];
    const present = new Set<string>();
    for (const sidecar of sidecars) {
      const name = nameOf(sidecar);
      if (!leased.has(name) && !this.#seen.has(name)) continue;
      // Several may have the name, each under an identity of its own: what one of them has says nothing of another.
      members.push(memberOf(name, sidecar));
      present.add(`${name} ${sidecar.identity}`);
    }
    for (const sidecar of leased) {
      const { identity = "" } = registry.lease(sidecar) ?? {};
      if (!present.has(`${sidecar} ${identity}`))
        members.push({ sidecar, connected: false, takesRoots: true });
    }
    return members.sort(byName);
  }
}

function byName({ sidecar: a }: Member, { sidecar: b }: Member): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function nameOf({
  namespace,
  name,
}: Pick<SidecarStatus, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

function memberOf(
  sidecar: string,
  { connected, agent, trust }: SidecarStatus,
): Member {
  const { serial, refused, root, issuedAt } = trust;
  return {
    sidecar,
    connected,
    takesRoots: agent.schema >= TRUST_SINCE,
    ...{ serial, refused, root, issuedAt },
  };
}
