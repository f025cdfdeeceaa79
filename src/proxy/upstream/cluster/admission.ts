/** What a caller does not send because an overloaded endpoint has said which priorities it admits. */
import type { Clock } from "../../../core/clock.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Balancer, Pick } from "../../../policy/balance/picker.ts";
import { matcher } from "../../../policy/compile/overload.ts";
import {
  compilePriority,
  PRIORITIES,
  type Prioritizer,
} from "../../../policy/priority.ts";
import type { RoutedRequest } from "../../../policy/router/candidate.ts";
import type { Endpoint } from "../../../policy/snapshot.ts";
import type { PrioritySpec } from "../../../resources/traffic-policy/overload.ts";
import { fieldValue, type Fields } from "../../../wire/fields.ts";
import { ADMISSION } from "../../exchange/heads.ts";

/** Milliseconds for which an endpoint's word counts: after it a request goes there to ask again. */
export const WORD = 1000;

interface StateWord {
  readonly threshold: number;
  readonly until: number;
}

/** What the endpoints of one cluster admit, where its TrafficPolicy has priorities. */
export class Admission {
  readonly priorityOf: Prioritizer<RoutedRequest>;
  readonly #key: string;
  /** By endpoint: those that let in less than everything. */
  readonly #words = new Map<string, StateWord>();

  constructor(key: string, priority: PrioritySpec) {
    this.#key = key;
    this.priorityOf = compilePriority<RoutedRequest>(priority, matcher);
  }

  /** An endpoint that has not said that it would turn the request away; a second look is all that is taken for one. */
  pick(
    balancer: Balancer<Endpoint>,
    tried: ReadonlySet<string>,
    now: number,
    request: {
      readonly priority?: number | undefined;
      readonly hash?: number | undefined;
      readonly repeatable?: boolean;
    },
  ): Pick<Endpoint> | MeshError {
    const { priority, hash, repeatable } = request;
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

  /** Endpoints that are there no longer say nothing. */
  retain(endpoints: ReadonlySet<string>): void {
    for (const endpoint of this.#words.keys())
      if (!endpoints.has(endpoint)) this.#words.delete(endpoint);
  }
}
