/** Counts what is still under way, so that a stopping part can say "no more" and wait for the rest. */

export interface Drain {
  /** True from `start()` on: take nothing new. */
  readonly draining: boolean;
  /** How much is under way. */
  readonly active: number;
  /** One more under way; call the result once when it is over. */
  enter(): () => void;
  /** Calls `run` when draining starts, or at once if it has. */
  onStart(run: () => void): () => void;
  /** Takes nothing new from now on. Resolves when nothing is under way. */
  start(): Promise<void>;
}

export function makeDrain(): Drain {
  let draining = false;
  let active = 0;
  const starts = new Set<() => void>();
  const waiters: (() => void)[] = [];
  const settle = (): void => {
    if (draining && active === 0)
      for (const waiter of waiters.splice(0)) waiter();
  };
  return {
    get draining() {
      return draining;
    },
    get active() {
      return active;
    },
    enter() {
      active += 1;
      let left = false;
      return () => {
        if (left) return;
        left = true;
        active -= 1;
        settle();
      };
    },
    onStart(run) {
      if (draining) run();
      else starts.add(run);
      return () => starts.delete(run);
    },
    start() {
      if (!draining) {
        draining = true;
        for (const run of starts) run();
        starts.clear();
      }
      return new Promise((resolve) => {
        waiters.push(resolve);
        settle();
      });
    },
  };
}
