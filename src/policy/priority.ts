/**
 * Which requests go first when not all can: by business level, and within one by cohort, so that a whole user is served or refused, not a
 * share of each one's calls (DAGOR: Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018).
 */
import { keyedHash } from "../core/shared/keyed-hash.ts";
import type { MonotonicMs, SpiffeUri, WallMs } from "../core/units.ts";
import {
  DEFAULT_LEVEL,
  keySource,
  LAST_LEVEL,
  type PrioritySpec,
} from "../resources/traffic-policy/overload.ts";

const COHORTS = 128;
/** Every request is one of these: level × cohort, 0 the most important. */
export const PRIORITIES: number = (LAST_LEVEL + 1) * COHORTS;
/** Everything passes. */
export const ALL: number = PRIORITIES - 1;

const HOUR = 3_600_000;

export interface PrioritizedRequest {
  header(name: string): string | undefined;
}

/** The priority of a request by a caller's SPIFFE id, in both sidecars the same. `wall` in milliseconds since the epoch. */
export type Prioritizer<R> = (
  peer: SpiffeUri | undefined,
  request: R,
  wall: WallMs,
) => number;

/** `spec` names callers by each trust domain that they may come under. */
export function compilePriority<R extends PrioritizedRequest>(
  spec: PrioritySpec,
  matcher: (
    matches: NonNullable<NonNullable<PrioritySpec["rules"]>[number]["matches"]>,
  ) => (request: R) => boolean,
): Prioritizer<R> {
  const rules = (spec.rules ?? []).map(({ level, matches, principals }) => ({
    level,
    matches: matches === undefined ? undefined : matcher(matches),
    callers:
      principals === undefined
        ? undefined
        : new Set(principals.map((principal) => `spiffe://${principal}`)),
  }));
  const otherwise = spec.default ?? DEFAULT_LEVEL;
  const source = keySource(spec.cohort ?? "source.principal");
  return (peer, request, wall) => {
    let level = otherwise;
    for (const rule of rules) {
      if (
        rule.callers !== undefined &&
        (peer === undefined || !rule.callers.has(peer))
      )
        continue;
      if (rule.matches !== undefined && !rule.matches(request)) continue;
      level = rule.level;
      break;
    }
    const user =
      source?.kind === "header" ? (request.header(source.name) ?? "") : peer;
    return level * COHORTS + cohortOf(user ?? "", wall);
  };
}

const salt = new Int32Array(2);
const hash = new Int32Array(2);

/** Another each hour, so that nobody is always among the last. No secret: every sidecar must come to the same. */
function cohortOf(user: string, wall: WallMs): number {
  salt[0] = Math.floor(wall / HOUR);
  keyedHash(user, salt, hash);
  return ((hash[0] ?? 0) >>> 0) % COHORTS;
}

/** Windows end after so many milliseconds or requests. */
const WINDOW = 1000;
const MOST = 2000;
/** In a window of overload so much less is to pass in the next, in any other so much more. */
const LESS = 0.05;
const MORE = 0.01;

/** The least important priority that passes now, from what came in the last window and whether it was too much. */
export class AdmissionThreshold {
  /** Arrivals of this window by priority. */
  readonly #arrivals = new Uint32Array(PRIORITIES);
  #count = 0;
  #startedAt = Number.NaN;
  #overloaded = false;
  #threshold = ALL;

  get value(): number {
    return this.#threshold;
  }

  /** A request arrives; true where it passes. `now` in monotonic milliseconds. */
  passes(priority: number, now: MonotonicMs): boolean {
    if (Number.isNaN(this.#startedAt)) this.#startedAt = now;
    if (now - this.#startedAt >= WINDOW || this.#count >= MOST) {
      this.#adjust();
      this.#startedAt = now;
    }
    this.#count += 1;
    this.#arrivals[priority] = (this.#arrivals[priority] ?? 0) + 1;
    return priority <= this.#threshold;
  }

  /** The limit was not enough for what passed. */
  overload(): void {
    this.#overloaded = true;
  }

  #adjust(): void {
    const arrivals = this.#arrivals;
    let passed = 0;
    for (let each = 0; each <= this.#threshold; each += 1)
      passed += arrivals[each] ?? 0;
    if (this.#overloaded) {
      const wanted = passed * (1 - LESS);
      while (this.#threshold > 0 && passed > wanted) {
        passed -= arrivals[this.#threshold] ?? 0;
        this.#threshold -= 1;
      }
    } else if (this.#threshold < ALL) {
      const wanted = passed + Math.max(1, this.#count * MORE);
      while (this.#threshold < ALL && passed < wanted) {
        this.#threshold += 1;
        passed += arrivals[this.#threshold] ?? 0;
      }
    }
    arrivals.fill(0);
    this.#count = 0;
    this.#overloaded = false;
  }
}
