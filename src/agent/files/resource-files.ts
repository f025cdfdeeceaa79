/** Resources from a file or a directory of files, checked as the API would check them: what did not change since the last time is neither read nor parsed again. */
import { createHash } from "node:crypto";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { inSlices } from "../../core/slices.ts";
import type { Bytes, WallMs } from "../../core/units.ts";
import { resourceName } from "../../push/names.ts";
import { checkTogether } from "../../resources/cross-checks/check-together.ts";
import type { Lookup } from "../../resources/cross-checks/references.ts";
import { formatKey, keyOf } from "../../resources/envelope.ts";
import { isError } from "../../resources/problems.ts";
import type { ReceivedResource, ReceivedResources } from "../staging.ts";
import type { FileFacts, Facts } from "./doubt.ts";
import { standingOf, type Look, type Standing } from "./look.ts";
import {
  placed,
  readParts,
  type Content,
  type FilePart,
  type PlacedResource,
} from "./parts.ts";
import { describe, ownRemarks, remarkOf, type Remark } from "./remarks.ts";

const EXTENSION = /\.(ya?ml|json)$/;
/** Files that are read at a time. */
const TOGETHER = 16;
const NEWLINE = 0x0a;

export interface LoadedFiles {
  readonly resources: ReceivedResources;
  /** Of the texts themselves. */
  readonly digest: string;
  readonly facts: Facts;
  /** By file and place; errors where there are any. */
  readonly remarks: readonly Remark[];
}

export interface ResourceFilesOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly path: string;
  readonly maxBytes: Bytes;
  readonly clock: Clock;
}

/** A file as it was read. */
interface KnownFile {
  readonly facts: FileFacts;
  readonly parts: readonly FilePart[];
  readonly resources: readonly PlacedResource[];
}

type KnownFiles = ReadonlyMap<string, KnownFile>;

export class ResourceFiles {
  readonly #options: ResourceFilesOptions;
  #known: KnownFiles = new Map();

  constructor(options: ResourceFilesOptions) {
    this.#options = options;
  }

  /** The files that the path stands for, in the order of their names. Rejects where it cannot be read. */
  readonly list = async (): Promise<readonly string[]> => {
    const { path } = this.#options;
    const facts = await stat(path);
    if (!facts.isDirectory()) return [path];
    const names = await readdir(path);
    return names
      .filter((name) => EXTENSION.test(name) && !name.startsWith("."))
      .sort()
      .map((name) => join(path, name));
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
    const known = await this.#read(look, inForce);
    if (known === undefined) return undefined;
    this.#known = known;
    const loaded = await inSlices(check(known, clock.wall()), clock);
    const errors = loaded.remarks.filter(({ problem }) => isError(problem));
    if (errors.length > 0)
      throw new UserError((await describe(errors, clock)).join("\n"));
    return loaded;
  }

  /** Reads those that do not stand as they did. */
  async #read(
    look: Look,
    inForce: ReceivedResources,
  ): Promise<KnownFiles | undefined> {
    await this.#checkAmount(look);
    const changed = [...look].filter(
      ([file, standing]) => !isKnown(this.#known.get(file), standing),
    );
    const contents = contentsBut(this.#known, look);
    const read = new Map<string, KnownFile>();
    for (let at = 0; at < changed.length; at += TOGETHER) {
      const some = changed.slice(at, at + TOGETHER);
      const texts = await this.#textsOf(some);
      for (const [index, [file, standing]] of some.entries()) {
        const text = texts[index];
        if (text === undefined || standing === undefined) return undefined;
        const parts = await inSlices(
          readParts(file, text, contents, inForce),
          this.#options.clock,
        );
        read.set(file, knownFile(standing, text, parts));
      }
    }
    const all = new Map<string, KnownFile>();
    for (const file of look.keys()) {
      const known = read.get(file) ?? this.#known.get(file);
      if (known !== undefined) all.set(file, known);
    }
    return all;
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
    for (const standing of look.values()) sum += standing?.bytes ?? 0;
    if (sum > maxBytes)
      throw new UserError(
        `${path} holds more than ${maxBytes} bytes of resources`,
      );
  }

  #textsOf(
    files: readonly (readonly [string, Standing | undefined])[],
  ): Promise<readonly (Buffer | undefined)[]> {
    return readable(
      Promise.all(files.map(([file, standing]) => readAs(file, standing))),
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

/** The text of a file that stands as it did when it was looked at, before it is read and after; undefined where it does not. */
async function readAs(
  file: string,
  standing: Standing | undefined,
): Promise<Buffer | undefined> {
  await using handle = await open(file, "r");
  const asBefore = async (): Promise<boolean> =>
    standingOf(await handle.stat({ bigint: true })).signature ===
    standing?.signature;
  if (!(await asBefore())) return undefined;
  const text = await handle.readFile();
  return (await asBefore()) ? text : undefined;
}

function isKnown(
  known: KnownFile | undefined,
  standing: Standing | undefined,
): boolean {
  return known !== undefined && known.facts.signature === standing?.signature;
}

/** By the key of its text, what was in files that have changed or are gone. */
function contentsBut(known: KnownFiles, look: Look): Map<string, Content> {
  const contents = new Map<string, Content>();
  for (const [file, each] of known)
    if (!isKnown(each, look.get(file)))
      for (const { key, content } of each.parts) contents.set(key, content);
  return contents;
}

function knownFile(
  { signature, inode, bytes }: Standing,
  text: Buffer,
  parts: readonly FilePart[],
): KnownFile {
  const resources = parts.flatMap(placed);
  const ended = text.at(-1) === NEWLINE;
  return {
    facts: { signature, inode, bytes, count: resources.length, ended },
    parts,
    resources,
  };
}

/** Puts together what the files hold, and checks it. */
function* check(
  files: KnownFiles,
  wall: WallMs,
): Generator<undefined, LoadedFiles> {
  const hash = createHash("sha256");
  const facts = new Map<string, FileFacts>();
  const byName = new Map<string, PlacedResource>();
  const resources = new Map<string, ReceivedResource>();
  const remarks: Remark[] = [];
  for (const [file, known] of files) {
    facts.set(file, known.facts);
    hash.update(`${file}\0`);
    for (const part of known.parts) {
      hash.update(part.key);
      for (const remark of ownRemarks(part)) remarks.push(remark);
    }
    for (const one of known.resources) {
      yield;
      const earlier = byName.get(one.name);
      if (earlier === undefined) {
        byName.set(one.name, one);
        resources.set(one.name, one.received);
      } else remarks.push(duplicate(one, earlier));
    }
  }
  const all = [...byName.values()];
  const lookup: Lookup = (key) => byName.get(resourceName(key))?.resource;
  for (const { about, problem } of yield* checkTogether(all, lookup, wall))
    remarks.push(remarkOf(about, problem));
  return {
    resources,
    digest: hash.digest("hex"),
    facts,
    remarks: inOrder(remarks, files),
  };
}

function duplicate(one: PlacedResource, earlier: PlacedResource): Remark {
  const message = `${formatKey(keyOf(one.resource))} is in`;
  return {
    ...remarkOf(one, { path: "metadata.name", message }),
    twin: remarkOf(earlier, { path: "", message: "" }),
  };
}

/** By file and place. */
function inOrder(remarks: readonly Remark[], files: KnownFiles): Remark[] {
  const order = new Map([...files.keys()].map((file, index) => [file, index]));
  return [...remarks].sort(
    ({ part: a }, { part: b }) =>
      (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.start - b.start,
  );
}
