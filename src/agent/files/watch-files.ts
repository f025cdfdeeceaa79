/** Notices that files have changed, however they were replaced, once nobody writes to them any more: by the kernel's word where there is one, by looking every 2 s where there is none. */
import { watch, type FSWatcher } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { wait, type Cancel, type Clock } from "../../core/clock.ts";

export interface WatchFilesOptions {
  /** The files as they are now; asked again at each look, for there may be new ones. */
  readonly list: () => Promise<readonly string[]>;
  /** Directories to hear of at once. Directories, not files: a file that is replaced by a rename is another file. */
  readonly directories: readonly string[];
  readonly clock: Clock;
  /** Something has changed since the last call, and nothing more has for a moment. One call at a time. */
  readonly onChange: () => Promise<void>;
  /** The files have been changing for so many milliseconds without a pause; called now and then. */
  readonly onRestless?: (ms: number) => void;
}

export interface FileWatcher {
  /** Resolves when no call is under way. */
  close(): Promise<void>;
}

const POLL = 2000;
/** Milliseconds: several files that are written one after another are read together. */
const DEBOUNCE = 100;
/** Milliseconds that files have been left alone before they are read: a program that saves truncates first and writes then. */
export const SETTLE: number = 250;
/** Looks without a pause in between after which it is reported. */
const RESTLESS = 40;

export async function watchFiles(
  options: WatchFilesOptions,
): Promise<FileWatcher> {
  const { clock, list } = options;
  const stop = new AbortController();
  let seen = await signature(list);
  let cancelSoon: Cancel = () => undefined;
  let running: Promise<void> | undefined;
  let again = false;

  const look = async (): Promise<void> => {
    let now = await signature(list);
    if (now === seen) return;
    for (let looks = 1; ; looks += 1) {
      await wait(clock, SETTLE, stop.signal);
      const next = await signature(list);
      if (next === now) break;
      now = next;
      if (looks % RESTLESS === 0) options.onRestless?.(looks * SETTLE);
    }
    if (now === seen) return;
    seen = now;
    await options.onChange();
  };

  const check = (): void => {
    if (stop.signal.aborted) return;
    if (running !== undefined) {
      again = true;
      return;
    }
    running = look()
      .catch((thrown: unknown) => {
        if (!stop.signal.aborted) throw thrown;
      })
      .finally(() => {
        running = undefined;
        if (!again) return;
        again = false;
        check();
      });
  };

  const soon = (): void => {
    cancelSoon();
    cancelSoon = clock.after(DEBOUNCE, check);
  };

  const watchers = [...new Set(options.directories)].flatMap((directory) =>
    listenTo(directory, soon),
  );
  const cancelPoll = clock.every(POLL, check);

  return {
    async close() {
      stop.abort(new Error("the files are not watched any more"));
      cancelSoon();
      cancelPoll();
      for (const watcher of watchers) watcher.close();
      await running;
    },
  };
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

/** Changes whenever a file comes, goes, is written or is replaced. */
export async function signature(
  list: WatchFilesOptions["list"],
): Promise<string> {
  const files = await list().catch(() => []);
  const parts = await Promise.all(
    files.map(async (file) => {
      const facts = await stat(file, { bigint: true }).catch(() => undefined);
      return facts === undefined
        ? `${file} gone`
        : `${file} ${facts.ino} ${facts.mtimeNs} ${facts.size}`;
    }),
  );
  return parts.join("\n");
}

export function directoriesOf(files: readonly string[]): string[] {
  return files.map((file) => dirname(file));
}
