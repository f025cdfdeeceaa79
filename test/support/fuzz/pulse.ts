/** Time as the two processes have it: counted in turns of both event loops, so that a machine that is busy with other things makes nobody late. */
import type { Target } from "./target/target-process.ts";

/** Turns after which a response that can come has come: a request crosses the target's loop five times, a handshake six. */
export const TURNS = 24;
/** Milliseconds between two turns that are counted. */
const BEAT = 8;

export class Pulse {
  turn = 0;
  #stopped = false;
  #waiting: { readonly until: number; resolve: () => void }[] = [];

  /** `run` at every turn. */
  constructor(target: Target, run: (turn: number) => void) {
    const beat = (): void => {
      if (this.#stopped) return;
      void target.cpu().then(() => {
        this.turn += 1;
        run(this.turn);
        this.#waiting = this.#waiting.filter(({ until, resolve }) => {
          if (until > this.turn) return true;
          resolve();
          return false;
        });
        setTimeout(beat, BEAT);
      });
    };
    beat();
  }

  turns(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ until: this.turn + count, resolve });
    });
  }

  stop(): void {
    this.#stopped = true;
  }
}
