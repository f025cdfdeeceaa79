/** Resources from a file or a directory of files, checked as the API would check them. */
import { createHash } from "node:crypto";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Bytes, WallMs } from "../../core/units.ts";
import type { SnapshotVersion } from "../../policy/snapshot.ts";
import { resourceName } from "../../push/names.ts";
import { keyOf } from "../../resources/envelope.ts";
import { formatFinding, lintTexts } from "../../resources/lint.ts";
import type { Facts } from "./doubt.ts";
import type { ReceivedResource, ReceivedResources } from "../staging.ts";

const EXTENSION = /\.(ya?ml|json)$/;
/** Problems that a message lists. */
const MOST_SHOWN = 20;

export interface LoadedFiles {
  readonly resources: ReceivedResources;
  /** Of the texts themselves. */
  readonly digest: string;
  readonly facts: Facts;
  /** "FILE:LINE:COLUMN: warning: …" */
  readonly warnings: readonly string[];
}

/** The files that `path` stands for, in the order of their names. Rejects where it cannot be read. */
export async function listResourceFiles(
  path: string,
): Promise<readonly string[]> {
  const facts = await stat(path);
  if (!facts.isDirectory()) return [path];
  const names = await readdir(path);
  return names
    .filter((name) => EXTENSION.test(name) && !name.startsWith("."))
    .sort()
    .map((name) => join(path, name));
}

/** Rejects with UserError that names every problem as FILE:LINE:COLUMN. */
export async function loadResourceFiles(
  path: string,
  maxBytes: Bytes,
  wall: WallMs,
): Promise<LoadedFiles> {
  const texts = await readTexts(path, maxBytes);
  const { resources, findings } = lintTexts(texts, { wall });
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length > 0) {
    const shown = errors.slice(0, MOST_SHOWN).map(formatFinding);
    throw new UserError(
      [
        ...shown,
        ...(errors.length > MOST_SHOWN
          ? [`and ${errors.length - MOST_SHOWN} more`]
          : []),
      ].join("\n"),
    );
  }
  const received = new Map<string, ReceivedResource>();
  const counts = new Map<string, number>();
  for (const { resource, file } of resources) {
    received.set(resourceName(keyOf(resource)), {
      version: "",
      resource,
      bytes: 0,
    });
    counts.set(file, (counts.get(file) ?? 0) + 1);
  }
  const hash = createHash("sha256");
  for (const { file, text } of texts) hash.update(`${file}\0${text}\0`);
  return {
    resources: received,
    digest: hash.digest("hex"),
    facts: new Map(
      texts.map(({ file, text, inode }) => [
        file,
        {
          inode,
          bytes: Buffer.byteLength(text),
          count: counts.get(file) ?? 0,
          ended: text.endsWith("\n"),
        },
      ]),
    ),
    warnings: findings.map(formatFinding),
  };
}

/** Wall-clock milliseconds of the last write to any of them; -Infinity where there is none. */
export async function newestChange(
  list: () => Promise<readonly string[]>,
): Promise<number> {
  const files = await list().catch(() => []);
  const times = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ mtimeMs }) => mtimeMs,
        () => -Infinity,
      ),
    ),
  );
  return Math.max(-Infinity, ...times);
}

/** A version for what files hold: there is no store, and the revision counts the loads of this process. */
export function fileVersion(revision: number, digest: string): SnapshotVersion {
  return { store: "files", revision, digest };
}

async function readTexts(
  path: string,
  maxBytes: Bytes,
): Promise<{ file: string; text: string; inode: string }[]> {
  try {
    const files = await listResourceFiles(path);
    let left = maxBytes;
    const texts: { file: string; text: string; inode: string }[] = [];
    for (const file of files) {
      await using handle = await open(file, "r");
      const { dev, ino } = await handle.stat({ bigint: true });
      const text = await handle.readFile("utf8");
      left -= Buffer.byteLength(text);
      if (left < 0)
        throw new UserError(
          `${path} holds more than ${maxBytes} bytes of resources`,
        );
      texts.push({ file, text, inode: `${dev}:${ino}` });
    }
    if (texts.length === 0)
      throw new UserError(
        `${path} has no file that ends in .yaml, .yml or .json`,
      );
    return texts;
  } catch (thrown) {
    if (thrown instanceof UserError) throw thrown;
    throw new UserError(`the resources cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}
