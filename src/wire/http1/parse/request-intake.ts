/** The request heads of one connection, one after the other, as their bytes come in. */
import type { Clock } from "../../../core/clock.ts";
import type { Claims } from "../../exchange.ts";
import type { Http1Limits } from "../limits.ts";
import { skipEmptyLine, takeHead } from "./head-intake.ts";
import { HeadMemory } from "./head-memory.ts";
import type { Input } from "./input.ts";
import { parseRequestHead, type ParsedRequest } from "./request-head.ts";

export class RequestIntake {
  /** Since when a part of a head is there, monotonic milliseconds; undefined where none is. */
  begunAt: number | undefined;
  readonly #scheme: "http" | "https";
  readonly #limits: Http1Limits;
  readonly #clock: Clock;
  readonly #claims: Claims | undefined;
  readonly #memory = new HeadMemory();
  #emptyLineSkipped = false;

  /** `scheme`: that of the connection. `claims`: what is not believed of the caller. */
  constructor(
    scheme: "http" | "https",
    limits: Http1Limits,
    clock: Clock,
    claims: Claims | undefined,
  ) {
    this.#scheme = scheme;
    this.#limits = limits;
    this.#clock = clock;
    this.#claims = claims;
  }

  /** Takes the next head out of the input; undefined where it is not complete. Throws `Http1Fault`. */
  take(input: Input): ParsedRequest | undefined {
    if (!this.#emptyLineSkipped && skipEmptyLine(input)) {
      this.#emptyLineSkipped = true;
      if (input.length === 0) return undefined;
    }
    const text = takeHead(input, this.#limits);
    if (text === undefined) {
      this.begunAt ??= this.#clock.now();
      return undefined;
    }
    const request = parseRequestHead(
      text,
      this.#scheme,
      this.#limits,
      this.#memory,
      this.#claims,
    );
    this.begunAt = undefined;
    this.#emptyLineSkipped = false;
    return request;
  }
}
