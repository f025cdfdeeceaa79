/** The response heads of one connection, one after the other, as their bytes come in. */
import { Http1Fault } from "../fault.ts";
import type { Http1Limits } from "../limits.ts";
import { takeHead } from "./head-intake.ts";
import { HeadMemory } from "./head-memory.ts";
import type { Input } from "./input.ts";
import {
  parseResponseHead,
  type Asked,
  type ParsedResponse,
} from "./response-head.ts";

export class ResponseIntake {
  readonly #limits: Http1Limits;
  readonly #memory = new HeadMemory();
  /** 1xx responses to the present request. */
  #informational = 0;

  constructor(limits: Http1Limits) {
    this.#limits = limits;
  }

  /** A request has been sent. */
  begin(): void {
    this.#informational = 0;
  }

  /** Takes the next head out of the input; undefined where it is not complete. `asked`: the request. Throws `Http1Fault`. */
  take(input: Input, asked: Asked): ParsedResponse | undefined {
    const text = takeHead(input, this.#limits, "HTTP/1.");
    if (text === undefined) return undefined;
    const response = parseResponseHead(text, asked, this.#limits, this.#memory);
    const { status } = response.head;
    if (status < 200 && status !== 101) this.#countInformational();
    return response;
  }

  #countInformational(): void {
    this.#informational += 1;
    if (this.#informational > this.#limits.informationalResponses)
      throw new Http1Fault(
        "grammar",
        `more than ${this.#limits.informationalResponses} 1xx responses`,
      );
  }
}
