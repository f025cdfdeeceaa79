/** How a caller holds back from a service that has too much to do: by what its endpoints say they let in, and by how much they refuse. */
import type { Clock } from "../../../core/clock.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Balancer, Pick } from "../../../policy/balance/picker.ts";
import { matcher } from "../../../policy/compile/overload.ts";
import type { Outcome } from "../../../policy/outcome.ts";
import {
  compilePriority,
  PRIORITIES,
  type Prioritizer,
} from "../../../policy/priority.ts";
import type { RoutedRequest } from "../../../policy/router/candidate.ts";
import type { Endpoint } from "../../../policy/snapshot.ts";
import { makeThrottle, type Throttle } from "../../../policy/throttle.ts";
import type { TrafficSettings } from "../../../resources/traffic-policy/settings.ts";
import { fieldValue, type Fields } from "../../../wire/fields.ts";
import { ADMISSION } from "../../exchange/heads.ts";

/** Milliseconds for which an endpoint's word counts: after it a request goes there to ask again. */
export const WORD = 1000;

interface StateWord {
  readonly threshold: number;
  readonly until: number;
}

/** The throttle of one cluster whose TrafficPolicy has priorities or client throttling. */
export class ClientThrottle {
  /** Undefined where all requests are equal. */
  readonly priorityOf: Prioritizer<RoutedRequest> | undefined;
  readonly throttle: Throttle | undefined;
  readonly #key: string;
  /** By endpoint: those that let in less than everything. */
  readonly #words = new Map<string, StateWord>();

  constructor(key: string, { priority, clientThrottling }: ThrottleSettings) {
    this.#key = key;
    this.priorityOf =
      priority === undefined
        ? undefined
        : compilePriority<RoutedRequest>(priority, matcher);
    this.throttle =
      clientThrottling === undefined
        ? undefined
        : makeThrottle(clientThrottling);
  }

  /** An endpoint that has not said that it would turn the request away; a second look is all that is taken for one. */
  pick(
    balancer: Balancer<Endpoint>,
    tried: ReadonlySet<string>,
    now: number,
    request: {
      readonly clock: Clock;
      readonly priority?: number | undefined;
      readonly hash?: number | undefined;
      readonly repeatable?: boolean;
    },
  ): Pick<Endpoint> | MeshError {
    const { clock, priority, hash, repeatable } = request;
    const { throttle } = this;
    if (throttle !== undefined && !throttle.request(now, clock.random()))
      return new MeshError(
        "THROTTLED",
        `${this.#key} refuses most of what is sent: ${Math.round(throttle.probability(now) * 100)} % is not sent now`,
        { source: "proxy", unprocessed: true },
      );
    const first = balancer.pick(now, tried, hash, repeatable);
    if (priority === undefined || first.kind !== "endpoint") return first;
    const { key } = first.endpoint;
    if (!this.#isUnwelcome(key, priority, now)) return first;
    first.done(undefined, now);
    const other = balancer.pick(
      now,
      new Set([...tried, key]),
      hash,
      repeatable,
    );
    if (
      other.kind !== "endpoint" ||
      !this.#isUnwelcome(other.endpoint.key, priority, now)
    )
      return other;
    other.done(undefined, now);
    return new MeshError(
      "SHED",
      `the endpoints of ${this.#key} take more important requests than priority ${priority} now`,
      { source: "proxy", unprocessed: true },
    );
  }

  /** What the endpoint's response says of the priorities that it lets in. */
  heard(endpoint: string, fields: Fields, clock: Clock): void {
    if (this.priorityOf === undefined) return;
    const text = fieldValue(fields, ADMISSION);
    if (text === undefined || !/^[0-9]{1,3}$/.test(text)) {
      if (this.#words.size > 0) this.#words.delete(endpoint);
      return;
    }
    const threshold = Math.min(PRIORITIES, Number(text));
    this.#words.set(endpoint, { threshold, until: clock.now() + WORD });
  }

  #isUnwelcome(endpoint: string, priority: number, now: number): boolean {
    const word = this.#words.get(endpoint);
    if (word === undefined) return false;
    if (now >= word.until) {
      this.#words.delete(endpoint);
      return false;
    }
    return priority > word.threshold;
  }

  /** What became of an attempt. */
  ended(outcome: Outcome, now: number): void {
    if (this.throttle !== undefined && !isRefusal(outcome))
      this.throttle.accepted(now);
  }

  /** Endpoints that are there no longer say nothing. */
  retain(endpoints: ReadonlySet<string>): void {
    for (const endpoint of this.#words.keys())
      if (!endpoints.has(endpoint)) this.#words.delete(endpoint);
  }
}

interface ThrottleSettings {
  readonly priority?: TrafficSettings["priority"];
  readonly clientThrottling?: TrafficSettings["clientThrottling"];
}

/** Undefined where no policy asks for it, so that nothing of it is on the way. */
export function clientThrottleOf(
  key: string,
  settings: ThrottleSettings,
): ClientThrottle | undefined {
  return settings.priority === undefined &&
    settings.clientThrottling === undefined
    ? undefined
    : new ClientThrottle(key, settings);
}

/** The service had no room for it. Failures are the breaker's affair. */
function isRefusal({ kind, status }: Outcome): boolean {
  return (
    kind === "shed" ||
    kind === "throttled" ||
    kind === "unprocessed" ||
    (kind === "peer-refusal" && status === TOO_MANY)
  );
}

const TOO_MANY = 429;
