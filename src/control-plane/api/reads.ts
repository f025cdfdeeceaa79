/** Reads give way: those of many resources go one by one, and where the event loop is late they get 429 and all else goes on. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../core/clock.ts";
import { Leavings } from "../../runtime/calm-collection.ts";
import type { LoopDelay } from "../loop-delay.ts";
import type { ApiMeters } from "../meters.ts";
import type { Api } from "./api.ts";
import { principalOf, tokenIdOf } from "./rights/authentication.ts";
import { ApiError } from "./errors.ts";
import { LongList } from "./long-list.ts";
import { Turnstile } from "./turnstile.ts";
import { Unread } from "./unread.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Its GET is a read of many resources, or of all sidecars. */
    readonly long?: boolean;
  }
}

/** Milliseconds by which the event loop is late for good: long reads stop first, and single resources can be read for longer. */
export const LATE = { long: 200, short: 1000 } as const;
/** Long reads at one time: each takes a slice of every turn of the event loop. */
export const MOST_LONG_READS = 2;
/** Long reads that wait for their turn: of all tokens, and of one, so that none can take the place of the others. */
export const MOST_WAITING = { together: 64, ofToken: 16 } as const;
/** Milliseconds that one waits at most. */
export const LONGEST_WAIT = 10_000;
/** Seconds after which a client should ask again; each gets another number of them, or all would be back at once. */
const AGAIN_AFTER = { least: 1, most: 3 } as const;

export interface ReadsOptions {
  readonly clock: Clock;
  readonly loop: Pick<LoopDelay, "standing">;
  readonly shed: ApiMeters["shed"];
}

/** After authentication: nobody learns how busy the mesh is without a token. Writes and health checks are not looked at. */
export function limitReads(api: Api, options: ReadsOptions): void {
  const { loop } = options;
  const reads = new LongReads(options.clock);
  api.addHook("onRequest", async (request, reply) => {
    if (request.method !== "GET" && request.method !== "HEAD") return;
    if (tokenIdOf(request) === undefined) return;
    const { long = false } = request.routeOptions.config;
    const why =
      loop.standing >= (long ? LATE.long : LATE.short)
        ? "late"
        : long && !isWatch(request)
          ? await reads.enter(request, reply)
          : undefined;
    if (why !== undefined) throw shed(why, reply, options);
  });
  api.addHook("onSend", (request, reply, payload, done) => {
    reads.made(request, reply, payload);
    done();
  });
}

/** A watch lasts as long as its client likes, and goes on in what little steps its client reads. */
export function isWatch({ method, query }: FastifyRequest): boolean {
  const { watch } = query as { readonly watch?: string };
  return method === "GET" && (watch === "1" || watch === "true");
}

type Shed = "late" | "many" | "slow" | "unread";

const SAID: Readonly<Record<Shed, string>> = {
  late: "the control plane is busy and serves sidecars and writes first",
  many: "too many reads of many resources wait for their turn",
  unread: "what was read before has not been taken off the connections yet",
  slow: `this read waited ${LONGEST_WAIT / 1000} s for its turn`,
};

function shed(
  why: Shed,
  reply: FastifyReply,
  { clock, shed: meter }: ReadsOptions,
): ApiError {
  const { least, most } = AGAIN_AFTER;
  const seconds = least + Math.floor(clock.random() * (most - least + 1));
  meter.with(why).add();
  reply.header("retry-after", String(seconds));
  return new ApiError(
    "TooManyRequests",
    `${SAID[why]}: try again in ${seconds} s`,
  );
}

class LongReads {
  readonly #clock: Clock;
  readonly #turnstile = new Turnstile(MOST_LONG_READS);
  readonly #unread: Unread;
  readonly #leavings = new Leavings();
  readonly #waiting = new Map<string, number>();
  /** Those whose turn it is. */
  readonly #turns = new WeakMap<FastifyRequest, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#unread = new Unread(clock);
  }

  /** Resolves when it is the request's turn, which lasts until its response is made; or with why it gets none. */
  async enter(
    request: FastifyRequest,
    { raw }: FastifyReply,
  ): Promise<Exclude<Shed, "late"> | undefined> {
    const token = principalOf(request).tokenId;
    if (this.#unread.isFull(token)) return "unread";
    const turn = this.#turnstile.enterNow() ?? (await this.#wait(token, raw));
    if (typeof turn === "string") return turn;
    this.#turns.set(request, turn);
    // It may end before there is a response.
    raw.once("close", turn);
    if (raw.destroyed) turn();
    return undefined;
  }

  /** The turn is over once all is written: what is left is for the network and the reader. */
  made(request: FastifyRequest, { raw }: FastifyReply, payload: unknown): void {
    const leave = this.#turns.get(request);
    if (leave === undefined) return;
    const { tokenId } = principalOf(request);
    if (payload instanceof LongList) {
      // Nobody reads it any more, or ever did: HEAD.
      raw.once("close", () => payload.destroy());
      const over = (): void => {
        leave();
        this.#leavings.look();
        this.#unread.add(tokenId, payload.unread, raw);
      };
      payload.written.then(over, over);
      return;
    }
    leave();
    if (typeof payload === "string")
      this.#unread.add(tokenId, payload.length, raw);
  }

  async #wait(
    token: string,
    raw: FastifyReply["raw"],
  ): Promise<(() => void) | "many" | "slow"> {
    const waiting = this.#waiting.get(token) ?? 0;
    if (
      this.#turnstile.waiting >= MOST_WAITING.together ||
      waiting >= MOST_WAITING.ofToken
    )
      return "many";
    this.#waiting.set(token, waiting + 1);
    const over = new AbortController();
    const end = (): void => over.abort();
    const cancel = this.#clock.after(LONGEST_WAIT, end);
    raw.once("close", end);
    const leave = await this.#turnstile.enter(over.signal);
    cancel();
    raw.off("close", end);
    const left = (this.#waiting.get(token) ?? 1) - 1;
    if (left > 0) this.#waiting.set(token, left);
    else this.#waiting.delete(token);
    return leave ?? "slow";
  }
}
