/** The config that the disk holds: read change by change, and believed where its checksums, its owner and its digest fit. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { SpiffeUri, WallMs } from "../core/units.ts";
import type { SnapshotVersion } from "../policy/snapshot.ts";
import { resourceName } from "../push/names.ts";
import { formatKey, keyOf } from "../resources/envelope.ts";
import { isError } from "../resources/problems.ts";
import { validate } from "../resources/validate.ts";
import { readJournal, type Batch, type Position } from "./journal.ts";
import type { ReceivedResource, ReceivedResources } from "./staging.ts";
import type { StateDirectory } from "./state-directory.ts";

/** A line an entry; the first line of all is the head, and what closes a batch of lines is a version. */
export const CONFIG_FILE = "snapshot.jsonl";
export const FORMAT = 4;
/** The format before, one text: read where there is no other, so that an update of this program loses nothing. */
export const OLD_CONFIG_FILE = "snapshot.json";
const OLD_FORMATS = [2, 3];

export interface KeptConfig {
  readonly version: SnapshotVersion;
  /** Wall milliseconds. */
  readonly receivedAt: WallMs;
  readonly resources: ReceivedResources;
}

/** Whose config it is: it was scoped to that instance, and another one must not serve it. */
export interface Owner {
  /** SPIFFE id. */
  readonly identity: SpiffeUri;
  readonly name: string;
}

export interface Head {
  readonly format: number;
  readonly owner: Owner;
  /** The version of the program that found the resources good. */
  readonly program: string;
}

export type Entry =
  | (ReceivedResource & { readonly name: string })
  | { readonly removed: string };

export interface Closing extends Omit<KeptConfig, "resources"> {
  /** Resources that the changes have come to. */
  readonly count: number;
}

/** All in one text. */
interface OldFile extends Head, Omit<KeptConfig, "resources"> {
  readonly resources: readonly ReceivedResource[];
}

type Unusable = { readonly reason: string };

export type ReadConfig = {
  readonly config: KeptConfig;
  /** What came after it and is not whole. */
  readonly damage?: string;
  /** Where the first batch and the last end, where the file may be continued: it is whole, and this program's. */
  readonly sound?: { readonly first: Position; readonly end: Position };
};

/** What is on disk for `owner`; the reason where there is something that cannot be used. */
export async function readConfig(
  directory: StateDirectory,
  owner: Owner,
  program: string,
  clock: Clock,
): Promise<ReadConfig | Unusable | undefined> {
  const file = join(directory.path, CONFIG_FILE);
  const journal = await readJournal(file, clock);
  if (journal === undefined) return readOld(directory, owner, program);
  const { batches, damage } = journal;
  const [first] = batches;
  const last = batches.at(-1);
  if (first === undefined || last === undefined)
    return { reason: `${file} is ignored: ${damage ?? "it is empty"}` };
  // Past the checksum the file is as this program wrote it; only an older or newer one may have written it otherwise.
  const head = first.lines[0] as Head;
  const fault = faultOf(head, [FORMAT], owner);
  if (fault !== undefined) return { reason: `${file} is ignored: ${fault}` };
  const { version, receivedAt, count } = last.closing as Closing;
  const read = checked(replay(batches), head.program, program);
  if ("fault" in read) return { reason: `${file} is ignored: ${read.fault}` };
  const { resources } = read;
  if (resources.size !== count)
    return {
      reason: `${file} is ignored: it holds ${resources.size} resources, and says ${count}`,
    };
  const config = { version, receivedAt, resources };
  if (damage !== undefined) return { config, damage };
  return head.program === program
    ? { config, sound: { first: first.end, end: last.end } }
    : { config };
}

async function readOld(
  directory: StateDirectory,
  owner: Owner,
  program: string,
): Promise<ReadConfig | Unusable | undefined> {
  const stored = await directory.read(OLD_CONFIG_FILE);
  if (stored.kind === "none") return undefined;
  if (stored.kind === "damaged") return { reason: stored.reason };
  const file = join(directory.path, OLD_CONFIG_FILE);
  const content = stored.content as OldFile;
  const fault = faultOf(content, OLD_FORMATS, owner);
  if (fault !== undefined) return { reason: `${file} is ignored: ${fault}` };
  const entries = new Map(
    content.resources.map((received) => [
      resourceName(keyOf(received.resource)),
      received,
    ]),
  );
  const read = checked(entries, content.program, program);
  if ("fault" in read) return { reason: `${file} is ignored: ${read.fault}` };
  const { version, receivedAt } = content;
  return { config: { version, receivedAt, resources: read.resources } };
}

/** What the changes come to, one after the other. */
function replay(batches: readonly Batch[]): Map<string, ReceivedResource> {
  const entries = new Map<string, ReceivedResource>();
  for (const [index, { lines }] of batches.entries())
    for (const line of index === 0 ? lines.slice(1) : lines) {
      const entry = line as Entry;
      if ("removed" in entry) entries.delete(entry.removed);
      else {
        const { name, ...received } = entry;
        entries.set(name, received);
      }
    }
  return entries;
}

function faultOf(
  head: Head,
  formats: readonly number[],
  owner: Owner,
): string | undefined {
  if (!formats.includes(head.format))
    return `it is of format ${head.format}, and this version reads ${formats.join(" and ")}`;
  const { identity, name } = head.owner;
  if (identity !== owner.identity || name !== owner.name)
    return `it is the config of ${name} (${identity})`;
  return undefined;
}

/** Held to this program's schemas where another one wrote them. */
function checked(
  entries: ReadonlyMap<string, ReceivedResource>,
  writtenBy: string,
  program: string,
): { readonly resources: ReceivedResources } | { readonly fault: string } {
  if (writtenBy === program) return { resources: entries };
  const resources = new Map<string, ReceivedResource>();
  const faults: string[] = [];
  for (const [name, received] of entries) {
    const validation = validate(received.resource);
    if (validation.ok)
      resources.set(name, { ...received, resource: validation.resource });
    else
      for (const { path, message } of validation.problems.filter(isError))
        faults.push(
          `${formatKey(keyOf(received.resource))}: ${path} ${message}`,
        );
  }
  return faults.length === 0
    ? { resources }
    : {
        fault: `version "${writtenBy}" wrote it, and here ${faults.slice(0, 5).join("; ")}`,
      };
}
