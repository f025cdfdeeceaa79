/**
 * Time as the two processes have it: counted in turns of both event loops, so that a machine that is busy with other things makes nobody late.
 * A turn counts once both loops had nothing left to do: a listener accepts one connection a turn, and a hundred may be before the one that waits.
 */
import type { Target } from "./target/target-process.ts";

/** Turns after which a response that can come has come: a request crosses the target's loop five times, a handshake six. */
export const TURNS = 24;
/** Milliseconds between two turns that are counted. */
const BEAT = 8;
/** What a turn counts in which a loop never came to rest: one that never does so must not hold the run for ever. */
const BUSY_TURN = 1 / 16;

export class Pulse {
  turn = 0;
  #stopped = false;
  #waiting: { readonly until: number; resolve: () => void }[] = [];

  /** `run` at every turn. */
  constructor(target: Pick<Target, "idle">, run: (turn: number) => void) {
    let idleHere = 0;
    let idleThere = 0;
    const beat = (): void => {
      if (this.#stopped) return;
      void target.idle().then((there) => {
        const here = performance.eventLoopUtilization().idle;
        this.turn += here > idleHere && there > idleThere ? 1 : BUSY_TURN;
        idleHere = here;
        idleThere = there;
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
