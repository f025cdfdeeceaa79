/** Responses that their readers have not taken yet: what they hold of the memory is bounded, for each token and in all. */
import type { ServerResponse } from "node:http";
import type { Clock } from "../../core/clock.ts";

/** Bytes. */
export const MOST_UNREAD: Readonly<Record<"together" | "ofToken", number>> = {
  together: 256 * 1024 * 1024,
  ofToken: 64 * 1024 * 1024,
};
/** Milliseconds that a reader has for one response. */
export const TAKEN_WITHIN = 120_000;

export class Unread {
  readonly #clock: Pick<Clock, "after">;
  readonly #ofToken = new Map<string, number>();
  #together = 0;

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  isFull(token: string): boolean {
    return (
      this.#together >= MOST_UNREAD.together ||
      (this.#ofToken.get(token) ?? 0) >= MOST_UNREAD.ofToken
    );
  }

  /** So many bytes wait until the response is over; one that is taken too slowly ends with its connection. */
  add(token: string, bytes: number, response: ServerResponse): void {
    if (response.destroyed) return;
    this.#count(token, bytes);
    const cancel = this.#clock.after(TAKEN_WITHIN, () => response.destroy());
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      cancel();
      this.#count(token, -bytes);
    };
    response.once("finish", end);
    response.once("close", end);
  }

  #count(token: string, bytes: number): void {
    this.#together += bytes;
    const left = (this.#ofToken.get(token) ?? 0) + bytes;
    if (left > 0) this.#ofToken.set(token, left);
    else this.#ofToken.delete(token);
  }
}
