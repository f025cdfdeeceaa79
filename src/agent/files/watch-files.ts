/** Notices that files have changed, however they were replaced, once nobody has written to them for a second: by the kernel's word where there is one, by looking every 2 s where there is none. */
import { watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";
import { wait, type Cancel, type Clock } from "../../core/clock.ts";
import { lookAt, type List } from "./look.ts";

export interface WatchFilesOptions {
  /** The files as they are now; asked again at each look, for there may be new ones. */
  readonly list: List;
  /** Directories to hear of at once. Directories, not files: a file that is replaced by a rename is another file. */
  readonly directories: readonly string[];
  readonly clock: Clock;
  /** Something has changed since the last call; they stand so now. One call at a time. */
  readonly onChange: (signature: string) => Promise<void>;
  /** The files have been changing for so many milliseconds without a pause; called now and then. */
  readonly onRestless?: (ms: number) => void;
}

/** Milliseconds that files have been left alone before they are read: a program that saves truncates first and writes then, and may pause. */
export const SETTLE: number = 1000;
const POLL = 2000;
/** Milliseconds: several files that are written one after another are looked at together. */
const DEBOUNCE = 100;
/** Looks without a pause in between after which it is reported. */
const RESTLESS = 10;
/** Share of the time that is given to looking where there are many files: one in so many. */
const SPARING = 50;

/** Resolves once the files have been looked at for the first time. */
export async function watchFiles(
  options: WatchFilesOptions,
): Promise<FileWatcher> {
  const { signature } = await lookAt(options.list);
  return new FileWatcher(options, signature);
}

export class FileWatcher {
  readonly #options: WatchFilesOptions;
  readonly #stop = new AbortController();
  readonly #watchers: readonly FSWatcher[];
  #seen: string;
  #cancelSoon: Cancel = () => undefined;
  #cancelPoll: Cancel = () => undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: WatchFilesOptions, seen: string) {
    this.#options = options;
    this.#seen = seen;
    this.#watchers = [...new Set(options.directories)].flatMap((directory) =>
      listenTo(directory, () => this.#soon()),
    );
    this.#pollIn(POLL);
  }

  /** Resolves when no call is in progress. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the files are not watched any more"));
    this.#cancelSoon();
    this.#cancelPoll();
    for (const watcher of this.#watchers) watcher.close();
    await this.#running;
  }

  #soon(): void {
    this.#cancelSoon();
    this.#cancelSoon = this.#options.clock.after(DEBOUNCE, () => this.#check());
  }

  #pollIn(ms: number): void {
    this.#cancelPoll = this.#options.clock.after(ms, () => {
      this.#pollIn(POLL);
      this.#check();
    });
  }

  #check(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#look()
      .catch((thrown: unknown) => {
        if (!this.#stop.signal.aborted) throw thrown;
      })
      .finally(() => {
        this.#running = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.#check();
      });
  }

  async #look(): Promise<void> {
    const { clock, list, onChange, onRestless } = this.#options;
    const before = clock.now();
    let { signature } = await lookAt(list);
    // Many files are looked at more rarely; what the kernel tells of is not waited for.
    if (!this.#stop.signal.aborted) {
      this.#cancelPoll();
      this.#pollIn(Math.max(POLL, (clock.now() - before) * SPARING));
    }
    if (signature === this.#seen) return;
    for (let looks = 1; ; looks += 1) {
      await wait(clock, SETTLE, this.#stop.signal);
      const next = await lookAt(list);
      if (next.signature === signature) break;
      signature = next.signature;
      if (looks % RESTLESS === 0) onRestless?.(looks * SETTLE);
    }
    if (signature === this.#seen) return;
    this.#seen = signature;
    await onChange(signature);
  }
}

/** None where the file system has no such word to give: the poll finds the change then. */
function listenTo(directory: string, onEvent: () => void): FSWatcher[] {
  try {
    const watcher = watch(directory, { persistent: false }, onEvent);
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    return [];
  }
}

export function directoriesOf(files: readonly string[]): string[] {
  return files.map((file) => dirname(file));
}
