/** Whether an exchange goes on fast enough: a caller that sends or takes next to nothing, and, while memory is short, anything that stands still and holds some. */
import { MeshError } from "../../../mesh/errors.ts";
import type { ServerStream } from "../../../wire/exchange.ts";
import { fieldValue } from "../../../wire/fields.ts";

export interface TransferLimits {
  /** Bytes a second of a request body, averaged over `sendGrace`, while nothing but the caller holds it up; 0 is without. */
  readonly bodyRate: number;
  /** Milliseconds by which a caller may lag behind `bodyRate`. */
  readonly sendGrace: number;
  /** Milliseconds in which a caller without an identity must take what waits for it. */
  readonly takeTimeout: number;
  /** Milliseconds that an exchange which holds bytes may stand still while memory is short. */
  readonly shortTimeout: number;
}

export interface TransferRateHost {
  readonly limits: TransferLimits;
  /** Memory is short. */
  readonly short: boolean;
}

/** How an exchange stands. */
export interface TransferState {
  /** Milliseconds in which nothing has moved. */
  readonly still: number;
  /** Bytes are held, of its request or of its response, since one side does not take them. */
  readonly holds: boolean;
  /** It is the caller that has to send, or to take, and it is held to a pace. */
  readonly waits: boolean;
  /** The response has begun. */
  readonly responded: boolean;
  /** Bytes of the request's body. */
  readonly received: number;
  /** The caller got a 1xx. */
  readonly continued: boolean;
}

/**
 * An account of patience for a request's body: waiting uses it up and bytes fill it again, never above the grace. So over any
 * stretch of waiting longer than the grace, `bodyRate` bytes a second came in what was beyond it (a leaky bucket).
 */
export class TransferRate {
  readonly #host: TransferRateHost;
  readonly #stream: ServerStream;
  /** The local application: it holds up nobody but itself. */
  readonly #ownApplication: boolean;
  readonly #stranger: boolean;
  /** Milliseconds of waiting for the request's body that are left. */
  #left: number;
  #seen = 0;

  /** `inside`: the caller is in the mesh. */
  constructor(host: TransferRateHost, stream: ServerStream, inside: boolean) {
    const identified = stream.connection.peer !== undefined;
    this.#host = host;
    this.#stream = stream;
    this.#ownApplication = inside && !identified;
    this.#stranger = !inside && !identified;
    this.#left = host.limits.sendGrace;
  }

  /** `ms` have passed since it was judged last. Why the exchange is given up, where it is. */
  judge(ms: number, state: TransferState): MeshError | undefined {
    const { short, limits } = this.#host;
    if (short && state.holds && state.still >= limits.shortTimeout)
      return new MeshError(
        "OVERLOADED",
        `this proxy is short of memory, and the exchange stood still for ${limits.shortTimeout / 1000} s`,
        { source: "proxy" },
      );
    if (!state.waits) return undefined;
    return state.responded ? this.#taking(state) : this.#sending(ms, state);
  }

  #sending(
    ms: number,
    { received, continued }: TransferState,
  ): MeshError | undefined {
    const { bodyRate, sendGrace } = this.#host.limits;
    if (bodyRate === 0 || this.#ownApplication) return undefined;
    // It may wait for 100 (Continue), as it should (RFC 9110 10.1.1).
    if (received === 0 && !continued && this.#expects()) return undefined;
    const earned = ((received - this.#seen) * 1000) / bodyRate;
    this.#seen = received;
    this.#left = Math.min(sendGrace, this.#left - ms + earned);
    if (this.#left > 0) return undefined;
    return new MeshError(
      "REQUEST_STALLED",
      `the body comes at less than ${bodyRate} bytes a second; --min-body-rate of the called sidecar says how slow it may be`,
      { source: "downstream" },
    );
  }

  #taking({ still }: TransferState): MeshError | undefined {
    const { takeTimeout } = this.#host.limits;
    if (!this.#stranger || still < takeTimeout) return undefined;
    return new MeshError(
      "RESPONSE_STALLED",
      `the caller did not take what waits for it within ${takeTimeout / 1000} s`,
      { source: "downstream" },
    );
  }

  #expects(): boolean {
    return fieldValue(this.#stream.head.fields, "expect") !== undefined;
  }
}
