/** Resources from a file or a directory of files, checked as the API would check them: what did not change since the last time is neither read nor parsed again. */
import { createHash } from "node:crypto";
import { open, opendir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { inSlices, pauses, type Pause, type Steps } from "../../core/slices.ts";
import type { Bytes } from "../../core/units.ts";
import { isError } from "../../resources/problems.ts";
import type { ReceivedResources } from "../staging.ts";
import {
  checkFiles,
  type KnownFile,
  type KnownFiles,
  type LoadedFiles,
} from "./check-files.ts";
import { Listed } from "./listed.ts";
import { LargeTexts } from "./large-texts.ts";
import { statsOf, type Look, type FileStats } from "./look.ts";
import {
  cutText,
  readParts,
  type Content,
  type Cut,
  type FilePart,
} from "./parts.ts";
import { describe, type Remark } from "./remarks.ts";

const EXTENSION = /\.(ya?ml|json)$/;
/** Files that are read at a time. */
const TOGETHER = 16;
/** Names of a directory that come at a time. */
const NAMES = 64;
const NEWLINE = 0x0a;

export interface ResourceFilesOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly path: string;
  readonly maxBytes: Bytes;
  readonly clock: Clock;
}

export class ResourceFiles {
  readonly #options: ResourceFilesOptions;
  readonly #large: LargeTexts;
  #known: KnownFiles = new Map();
  /** What was found last without an error in it. */
  #sound: LoadedFiles | undefined;
  #listed = new Listed();

  constructor(options: ResourceFilesOptions) {
    this.#options = options;
    this.#large = new LargeTexts(options.clock);
  }

  /** The files that the path stands for, in the order of their names. Rejects where it cannot be read. */
  readonly list = async (): Promise<readonly string[]> => {
    const { path, clock } = this.#options;
    const facts = await stat(path);
    if (!facts.isDirectory()) return [path];
    const pause = pauses(clock);
    const beginning = join(path, "x").slice(0, -1);
    const files: string[] = [];
    for await (const { name } of await opendir(path, { bufferSize: NAMES })) {
      if (EXTENSION.test(name) && !name.startsWith("."))
        files.push(this.#listed.one(`${beginning}${name}`));
      await pause();
    }
    return inSlices(this.#listed.sorted(files), pause);
  };

  /**
   * What the files held when they were looked at; undefined where they have changed since. `inForce`: resources that say the same are
   * these very objects. Rejects with UserError that names the problems as FILE:LINE:COLUMN.
   */
  async load(
    look: Look,
    inForce: ReceivedResources,
  ): Promise<LoadedFiles | undefined> {
    const { clock } = this.#options;
    const pause = pauses(clock);
    this.#large.serving = inForce.size > 0;
    await this.#checkAmount(look);
    const known = await this.#read(look, inForce, pause);
    if (known === undefined) return undefined;
    this.#known = known;
    const loaded = await inSlices(
      checkFiles(known, clock.wall(), this.#sound),
      pause,
    );
    const errors = loaded.remarks.filter(({ problem }) => isError(problem));
    if (errors.length > 0)
      throw new UserError(
        (await describe(errors, this.#large, pause)).join("\n"),
      );
    this.#sound = loaded;
    return loaded;
  }

  /** As lines for the log. */
  describe(remarks: readonly Remark[]): Promise<string[]> {
    return describe(remarks, this.#large, pauses(this.#options.clock));
  }

  close(): Promise<void> {
    return this.#large.close();
  }

  /** Reads those that do not stand as they did. */
  async #read(
    look: Look,
    inForce: ReceivedResources,
    pause: Pause,
  ): Promise<KnownFiles | undefined> {
    const { changed, contents } = await inSlices(
      comparedTo(this.#known, look),
      pause,
    );
    const read = new Map<string, KnownFile>();
    for (let at = 0; at < changed.length; at += TOGETHER) {
      const some = changed.slice(at, at + TOGETHER);
      const found = await this.#textsOf(some);
      for (const [index, [file, stats]] of some.entries()) {
        const one = found[index];
        if (one === undefined || stats === undefined) return undefined;
        const { text, target } = one;
        const cuts = await inSlices(cutText(text), pause);
        await this.#readLarge(file, text, cuts, contents, inForce, pause);
        const parts = await inSlices(
          readParts(file, text, cuts, contents, inForce),
          pause,
        );
        const known = knownFile(stats, target, text, parts);
        read.set(file, await inSlices(known, pause));
      }
    }
    return inSlices(together(look, read, this.#known), pause);
  }

  /** Adds the large parts of the text to what is known. */
  async #readLarge(
    file: string,
    text: Buffer,
    cuts: readonly Cut[],
    contents: Map<string, Content>,
    inForce: ReceivedResources,
    pause: Pause,
  ): Promise<void> {
    for (const { start, end, key } of cuts) {
      const part = text.subarray(start, end);
      if (!this.#large.has(part) || contents.has(key)) continue;
      try {
        contents.set(
          key,
          await this.#large.read({ key, text: part }, inForce, pause),
        );
      } catch (thrown) {
        throw new UserError(
          `${file}: the document of ${part.length} bytes cannot be read: ${messageOf(thrown)}`,
          { cause: thrown },
        );
      }
    }
  }

  async #checkAmount(look: Look): Promise<void> {
    const { path, maxBytes } = this.#options;
    if (look.size === 0) {
      await readable(this.list());
      throw new UserError(
        `${path} has no file that ends in .yaml, .yml or .json`,
      );
    }
    let sum = 0;
    for (const stats of look.values()) sum += stats?.bytes ?? 0;
    if (sum > maxBytes)
      throw new UserError(
        `${path} holds more than ${maxBytes} bytes of resources`,
      );
  }

  #textsOf(
    files: readonly (readonly [string, FileStats | undefined])[],
  ): Promise<readonly (FileText | undefined)[]> {
    return readable(
      Promise.all(files.map(([file, stats]) => readAs(file, stats))),
    );
  }
}

async function readable<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (thrown) {
    throw new UserError(`the resources cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

interface FileText {
  readonly text: Buffer;
  /** Real path. */
  readonly target: string;
}

/** The text of a file that stands as it did when it was looked at, before it is read and after; undefined where it does not. */
async function readAs(
  file: string,
  stats: FileStats | undefined,
): Promise<FileText | undefined> {
  await using handle = await open(file, "r");
  const asBefore = async (): Promise<boolean> =>
    statsOf(await handle.stat({ bigint: true })).signature === stats?.signature;
  if (!(await asBefore())) return undefined;
  const text = await handle.readFile();
  const real = await realpath(file);
  // The same text for both paths where they are one: there may be thousands.
  const target = real === file ? file : real;
  return (await asBefore()) ? { text, target } : undefined;
}

interface Compared {
  readonly changed: readonly (readonly [string, FileStats | undefined])[];
  /** By the key of its text, what was in files that have changed or are gone. */
  readonly contents: Map<string, Content>;
}

function* comparedTo(known: KnownFiles, look: Look): Steps<Compared> {
  const changed: (readonly [string, FileStats | undefined])[] = [];
  const contents = new Map<string, Content>();
  const isKnown = (file: string, stats: FileStats | undefined): boolean =>
    known.get(file)?.signature === stats?.signature;
  for (const [file, stats] of look) {
    yield;
    if (stats === undefined || !isKnown(file, stats))
      changed.push([file, stats]);
  }
  for (const [file, { parts }] of known) {
    yield;
    if (isKnown(file, look.get(file))) continue;
    for (const { content } of parts) {
      yield;
      contents.set(content.key, content);
    }
  }
  return { changed, contents };
}

/** In the order of the look. */
function* together(
  look: Look,
  read: KnownFiles,
  known: KnownFiles,
): Steps<KnownFiles> {
  const all = new Map<string, KnownFile>();
  for (const file of look.keys()) {
    yield;
    const one = read.get(file) ?? known.get(file);
    if (one !== undefined) all.set(file, one);
  }
  return all;
}

function* knownFile(
  { signature, bytes }: FileStats,
  target: string,
  text: Buffer,
  parts: readonly FilePart[],
): Steps<KnownFile> {
  let count = 0;
  const hash = createHash("sha256");
  for (const { content } of parts) {
    yield;
    count += content.entries.length;
    hash.update(content.key);
  }
  const ended = text.at(-1) === NEWLINE;
  const digest = hash.digest("base64");
  return { signature, target, bytes, count, ended, parts, digest };
}
