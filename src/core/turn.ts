/** The end of a turn of the event loop, when the events that came have been handled. Each thread has its own. */

type Run = () => void;

let waiting: Run[] = [];
let idle: Run[] = [];
let last: Run | undefined;
let scheduled = false;

/** Runs `run` at the end of this turn; of the next one, where it is asked for at the end of one. Runs must not throw. */
export function afterTurn(run: Run): void {
  waiting.push(run);
  schedule();
}

/** Runs `run` after all that waits for the end of a turn, and what they ask for in their turn: just before the event loop waits for events. The one that was given last, once. */
export function beforeWaiting(run: Run): void {
  last = run;
  schedule();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(end);
}

function end(): void {
  scheduled = false;
  const due = waiting;
  waiting = idle;
  idle = due;
  for (const run of due) run();
  due.length = 0;
  if (last === undefined) return;
  if (waiting.length > 0) {
    schedule();
    return;
  }
  const run = last;
  last = undefined;
  run();
}
