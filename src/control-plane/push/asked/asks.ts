/** When what a sidecar asks for on its stream is taken up: at once, or gathered for a while where its instance has taken much of the control plane's time. */
import type { Clock } from "../../../core/clock.ts";
import {
  EVERYTHING,
  MOST_SUBSCRIPTIONS,
  SELF,
} from "../../../push/interest.ts";
import type { DeltaRequest } from "../../../push/messages.ts";
import type { Debts } from "./debts.ts";

/** Milliseconds for which a new name is gathered at most, for calls of an application wait for it. */
export const NEW_NAME_WAITS = 100;
/** Names: what is refused anyhow is not kept until then. */
const MOST_GATHERED = 2 * MOST_SUBSCRIPTIONS;

export type Asked = Pick<DeltaRequest, "subscribe" | "unsubscribe">;

export interface AsksOptions {
  readonly clock: Pick<Clock, "after">;
  readonly debts: Debts;
  readonly peer: Parameters<Debts["wait"]>[0];
  /** Names that may be subscribed to besides those that are. */
  readonly room: () => number;
  readonly take: (asked: Asked) => void;
}

export class Asks {
  readonly #options: AsksOptions;
  /** Names that are subscribed to, for calls. */
  readonly #names = new Set<string>();
  /** Names of which nobody waits for what becomes of them, and whether they are subscribed to: to give back one of thousands is a look at all of them. */
  readonly #others = new Map<string, boolean>();
  #cancelNames: (() => void) | undefined;
  #cancelOthers: (() => void) | undefined;

  constructor(options: AsksOptions) {
    this.#options = options;
  }

  add({ subscribe, unsubscribe }: Asked): void {
    for (const name of unsubscribe) {
      this.#names.delete(name);
      this.#others.set(name, false);
    }
    for (const name of subscribe) {
      if (name === EVERYTHING || name === SELF) this.#others.set(name, true);
      else {
        this.#others.delete(name);
        this.#names.add(name);
      }
    }
    const { clock, debts, peer } = this.#options;
    const wait = debts.wait(peer);
    if (wait === 0 || this.#names.size + this.#others.size > MOST_GATHERED)
      this.#takeAll();
    else {
      if (this.#others.size > 0)
        this.#cancelOthers ??= clock.after(wait, () => this.#late());
      if (this.#names.size > 0)
        this.#cancelNames ??= clock.after(Math.min(wait, NEW_NAME_WAITS), () =>
          this.#takeNames(),
        );
    }
  }

  close(): void {
    this.#cancelNames?.();
    this.#cancelOthers?.();
    this.#names.clear();
    this.#others.clear();
  }

  /** Another stream of the instance may have taken more meanwhile. */
  #late(): void {
    this.#cancelOthers = undefined;
    this.add({ subscribe: [], unsubscribe: [] });
  }

  #takeNames(): void {
    this.#cancelNames = undefined;
    // They go with those that make room for them.
    const { room } = this.#options;
    if (this.#others.size > 0 && this.#names.size > room()) return;
    const subscribe = [...this.#names];
    this.#names.clear();
    if (subscribe.length > 0) this.#take({ subscribe, unsubscribe: [] });
  }

  #takeAll(): void {
    const others = [...this.#others];
    const which = (wanted: boolean): string[] =>
      others.filter(([, is]) => is === wanted).map(([name]) => name);
    const subscribe = [...which(true), ...this.#names];
    this.close();
    this.#cancelNames = this.#cancelOthers = undefined;
    this.#take({ subscribe, unsubscribe: which(false) });
  }

  #take(asked: Asked): void {
    const { debts, peer, take } = this.#options;
    debts.run(peer, () => take(asked));
  }
}
