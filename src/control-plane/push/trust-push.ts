/** The roots on one sidecar's stream: what it trusts by its own word, what it is offered, and what it said to it. */
import type { DeltaRequest, Node } from "../../push/messages.ts";
import { NODE, TRUST_SINCE } from "../../push/names.ts";

/** A signed bundle as it goes to sidecars. */
export interface TrustOffer {
  readonly serial: number;
  /** A SignedTrust as the field of a response that it will be. */
  readonly field: Buffer;
}

export interface TrustStatus {
  /** Serial of the bundle that it has acknowledged; absent where it has none, or is of a version that takes none. */
  readonly serial?: number;
  /** The newest that it refused; gone once it takes one. */
  readonly refused?: string;
}

/** What a refusal's reason is cut to: it comes from the peer and is kept. */
const LONGEST_REASON = 2048;

export class TrustPush {
  readonly #offer: () => TrustOffer | undefined;
  #takes = false;
  #serial: number | undefined;
  #refused: { readonly serial: number; readonly reason: string } | undefined;
  #inFlight: { readonly serial: number; readonly nonce: string } | undefined;

  /** `offer`: what is to be trusted now; undefined: nothing is said of it. */
  constructor(offer: () => TrustOffer | undefined) {
    this.#offer = offer;
  }

  get status(): TrustStatus {
    return {
      ...(this.#serial === undefined ? {} : { serial: this.#serial }),
      ...(this.#refused === undefined ? {} : { refused: this.#refused.reason }),
    };
  }

  /** An answer is awaited. */
  get inFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  /** What the sidecar says of itself at the start. */
  greeted({ metadata }: Node): void {
    this.#takes = Number(metadata[NODE.schema] ?? 0) >= TRUST_SINCE;
    const serial = Number(metadata[NODE.trust]);
    if (Number.isSafeInteger(serial)) this.#serial = serial;
  }

  /** What is to be sent under the nonce; undefined where the sidecar has it, has refused it, or takes none. */
  next(nonce: string): TrustOffer | undefined {
    const offer = this.#offer();
    if (
      offer === undefined ||
      !this.#takes ||
      offer.serial === this.#serial ||
      offer.serial === this.#refused?.serial
    )
      return undefined;
    this.#inFlight = { serial: offer.serial, nonce };
    return offer;
  }

  /** Whether the request is the answer that was awaited. */
  answered({ nonce, error }: DeltaRequest): boolean {
    const { serial, nonce: awaited } = this.#inFlight ?? {};
    if (serial === undefined || nonce !== awaited) return false;
    this.#inFlight = undefined;
    if (error === undefined) {
      this.#serial = serial;
      this.#refused = undefined;
    } else
      this.#refused = {
        serial,
        reason: error.message.slice(0, LONGEST_REASON),
      };
    return true;
  }
}
