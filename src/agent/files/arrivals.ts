/** Files that were put in their place whole, as the kernel tells it: a name that came is another event than a write to it. */
import type { WatchEventType } from "node:fs";
import { join } from "node:path";

/** By the file's real path: true where it came by a rename or a link and was not written to since, false also where nobody can tell. */
export type CameWhole = (target: string) => boolean;

/** Names that are remembered between two looks; files beyond them count as written where they stand. */
const MOST = 10_000;

export class Arrivals {
  readonly #tells: boolean;
  #came = new Set<string>();

  constructor(platform: NodeJS.Platform = process.platform) {
    // Others than inotify may tell of a file that is made and then written by one event.
    this.#tells = platform === "linux";
  }

  /** `directory`: its real path. `name` is null where the kernel does not say which. */
  hear(directory: string, event: WatchEventType, name: string | null): void {
    if (!this.#tells) return;
    if (name === null) {
      this.#came.clear();
      return;
    }
    const target = join(directory, name);
    if (event === "change") this.#came.delete(target);
    else if (this.#came.size < MOST) this.#came.add(target);
  }

  /** What is known by now; what is heard later belongs to the next look. */
  take(): CameWhole {
    const came = this.#came;
    this.#came = new Set();
    return (target) => came.has(target);
  }
}
