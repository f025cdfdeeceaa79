/** The config that the disk holds, with what the sidecar knew by it: read change by change, and believed where all of its checksums and its owner fit. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { SpiffeUri, WallMs } from "../core/units.ts";
import type { SnapshotVersion } from "../policy/snapshot.ts";
import type { Lookup } from "../push/messages.ts";
import { formatKey, keyOf } from "../resources/envelope.ts";
import { isError } from "../resources/problems.ts";
import { validate } from "../resources/validate.ts";
import type { KeptInterest } from "./interest/mesh-interest.ts";
import { readJournal, type Batch, type Position } from "./journal.ts";
import type { ReceivedResource, ReceivedResources } from "./staging.ts";
import type { StateDirectory } from "./state-directory.ts";

/** A line an entry; the first line of all is the head, and what closes a batch of lines is a version. */
export const CONFIG_FILE = "snapshot.jsonl";
export const FORMAT = 5;
/** The format before had resources alone: with them nothing is known of what is not there, and all of it is asked. */
const FORMATS: readonly number[] = [4, FORMAT];

export interface KeptConfig {
  readonly version: SnapshotVersion;
  /** Wall milliseconds. */
  readonly receivedAt: WallMs;
  readonly resources: ReceivedResources;
}

/** What is in force together is kept together: results that are newer than the resources would say of a Service that it is held. */
export interface Kept extends KeptConfig {
  readonly interest: KeptInterest;
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
  /** What a question leads to. */
  | (Lookup & { readonly lookup: string })
  /** "NAMESPACE/NAME" of a Service in use. */
  | { readonly use: string }
  | { readonly removed: string };

export interface Closing extends Omit<KeptConfig, "resources"> {
  /** Entries that the changes have come to. */
  readonly count: number;
}

type Unusable = { readonly reason: string };

export type ReadConfig = {
  readonly kept: Kept;
  /** Where the first batch and the last end, where the file may be continued: it is this program's. */
  readonly sound?: { readonly first: Position; readonly end: Position };
};

/** By what an entry is removed. */
export function keyOfUse(service: string): string {
  return `use ${service}`;
}

/** What is on disk for `owner`; the reason where there is something that cannot be used. */
export async function readConfig(
  directory: StateDirectory,
  owner: Owner,
  program: string,
  clock: Clock,
): Promise<ReadConfig | Unusable | undefined> {
  const file = join(directory.path, CONFIG_FILE);
  const unusable = (why: string): Unusable => ({
    reason: `${file} is not used: ${why}`,
  });
  const journal = await readJournal(file, clock);
  if (journal === undefined) return undefined;
  const { batches, damage } = journal;
  const [first] = batches;
  const last = batches.at(-1);
  if (first === undefined || last === undefined)
    return unusable(damage ?? "it is empty");
  // Past the checksum the file is as this program wrote it; only an older or newer one may have written it otherwise.
  const head = first.lines[0] as Head;
  const fault = faultOf(head, owner);
  if (fault !== undefined) return unusable(fault);
  const { version, receivedAt, count } = last.closing as Closing;
  // What is lost was in force: the config before it may lack a policy.
  if (damage !== undefined)
    return unusable(
      `${damage}, and a policy may be among what came after revision ${version.revision}`,
    );
  const entries = replay(batches);
  const found = entries.resources.size + entries.lookups.size;
  if (found + entries.services.size !== count)
    return unusable(
      `it holds ${found + entries.services.size} entries, and says ${count}`,
    );
  const read = checked(entries.resources, head.program, program);
  if ("fault" in read) return unusable(read.fault);
  const { resources } = read;
  const { lookups } = entries;
  const interest = { services: [...entries.services.values()], lookups };
  const kept = { version, receivedAt, resources, interest };
  return head.program === program && head.format === FORMAT
    ? { kept, sound: { first: first.end, end: last.end } }
    : { kept };
}

interface Entries {
  readonly resources: Map<string, ReceivedResource>;
  readonly lookups: Map<string, Lookup>;
  readonly services: Map<string, string>;
}

/** What the changes come to, one after the other. */
function replay(batches: readonly Batch[]): Entries {
  const resources: Entries["resources"] = new Map();
  const lookups: Entries["lookups"] = new Map();
  const services: Entries["services"] = new Map();
  for (const [index, { lines }] of batches.entries())
    for (const line of index === 0 ? lines.slice(1) : lines) {
      const entry = line as Entry;
      if ("removed" in entry)
        for (const entries of [resources, lookups, services])
          entries.delete(entry.removed);
      else if ("use" in entry) services.set(keyOfUse(entry.use), entry.use);
      else if ("lookup" in entry)
        lookups.set(entry.lookup, { services: entry.services });
      else {
        const { name, ...received } = entry;
        resources.set(name, received);
      }
    }
  return { resources, lookups, services };
}

function faultOf(head: Head, owner: Owner): string | undefined {
  if (!FORMATS.includes(head.format))
    return `it is of format ${head.format}, and this version reads ${FORMATS.join(" and ")}`;
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
