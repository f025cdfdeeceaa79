/** A line a finished file, and one after each 15 s without any: a log shows that the run is alive. */
import type { FileResult } from "./processes.ts";
import { format } from "./tap-text.ts";

const QUIET = 15_000;

export class Progress {
  readonly #total: number;
  readonly #print: (line: string) => void;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #done = 0;

  constructor(total: number, print: (line: string) => void) {
    this.#total = total;
    this.#print = print;
    this.#timer = setInterval(() => this.#quiet(), QUIET);
  }

  ended({ file, counts, time, cut }: FileResult): void {
    this.#done += 1;
    this.#timer.refresh();
    const place = String(this.#done).padStart(String(this.#total).length);
    this.#print(
      `[${place}/${this.#total}] ${file} ${cut ? "ended early, " : ""}${format(counts)}, ${(time / 1000).toFixed(1)} s`,
    );
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #quiet(): void {
    const seconds = Math.round((performance.now() - this.#started) / 1000);
    this.#print(
      `… ${seconds} s: ${this.#done} of ${this.#total} files are done`,
    );
  }
}
