/** What two processes of one sidecar say to each other while the newer takes over, a line of JSON each; the sockets themselves come with the lines that name them. */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import type { ListeningSocket } from "../../proxy/downstream/handed-listeners.ts";

/** What the newer process asks. `from`: the first socket that is still to come. */
export type Wish =
  | { readonly ask: "sockets"; readonly from: number; readonly format: number }
  /** It is ready: the older accepts no more, and lets go of directory and control plane. */
  | { readonly ask: "drain" };

/** What the older process replies. */
export type Reply =
  /** `all`: how many there are. */
  | { readonly sockets: readonly Named[]; readonly all: number }
  | { readonly draining: true }
  | { readonly refused: string };

/** A socket without its descriptor, which is another number in each process. */
export type Named = Omit<ListeningSocket, "descriptor">;

/** The format of these messages. Another one is refused, and nothing changes. */
export const FORMAT = 1;
/** Milliseconds in which the other end responds. */
export const RESPOND_WITHIN = 10_000;
/** Characters that a line may have. */
export const LONGEST_LINE = 65_536;

/** In the state directory. */
const NAME = "take-over.sock";
/** `sun_path` has 108 bytes, the last of which is 0. */
const LONGEST_PATH = 107;

export interface SocketPath {
  readonly path: string;
  /** The path is of use no more. */
  release(): void;
}

/** Where the newer process finds the older. A long path goes by the descriptor of its directory. Throws Node's error where there is no such directory. */
export function socketPathOf(directory: string): SocketPath {
  const path = join(directory, NAME);
  if (Buffer.byteLength(path) <= LONGEST_PATH)
    return { path, release: () => undefined };
  const { O_RDONLY, O_DIRECTORY } = constants;
  const descriptor = openSync(directory, O_RDONLY | O_DIRECTORY);
  return {
    path: `/proc/self/fd/${descriptor}/${NAME}`,
    release: () => closeSync(descriptor),
  };
}

/** Cuts what comes into lines. Throws where one is too long, or no JSON. */
export class Lines {
  #text = "";

  take(chunk: Buffer): readonly unknown[] {
    const parts = (this.#text + chunk.toString()).split("\n");
    this.#text = parts.pop() ?? "";
    if ([...parts, this.#text].some(({ length }) => length > LONGEST_LINE))
      throw new Error("a line is too long");
    return parts.map((line): unknown => JSON.parse(line));
  }
}

/** As it goes out. */
export function lineOf(message: Wish | Reply): string {
  return `${JSON.stringify(message)}\n`;
}
