/** The config that the disk holds, with what the sidecar knew by it: one file that is replaced whole, believed where its checksum and its owner fit. */
import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { makeDirectory, replaceFile } from "../core/directory.ts";
import { messageOf, systemCode } from "../core/errors.ts";
import { again } from "../core/machine/again.ts";
import type { Bytes, SpiffeUri, WallMs } from "../core/units.ts";
import type { SnapshotVersion } from "../policy/snapshot.ts";
import type { Lookup } from "../push/messages.ts";
import { formatKey, keyOf } from "../resources/envelope.ts";
import { isError } from "../resources/problems.ts";
import { validate } from "../resources/validate.ts";
import type { KeptInterest } from "./interest/mesh-interest.ts";
import type { ReceivedResource, ReceivedResources } from "./staging.ts";
import { closeFile, LARGEST, type StateDirectory } from "./state-directory.ts";

/** A head, a line an entry, and a last line with the checksum of those before it. */
export const CONFIG_FILE = "snapshot.jsonl";
export const FORMAT = 1;

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

interface Head extends Omit<KeptConfig, "resources"> {
  readonly format: number;
  readonly owner: Owner;
  /** The version of the program that found the resources good. */
  readonly program: string;
  /** "NAMESPACE/NAME" of the Services in use. */
  readonly services: readonly string[];
}

type Entry =
  | (ReceivedResource & { readonly name: string })
  /** What a question leads to. */
  | (Lookup & { readonly lookup: string });

type Unusable = { readonly reason: string };

/** Characters that are made and written at a time: some 0.2 ms of the event loop. */
const PIECE = 32 * 1024;
const CHECKSUM = /^\{"checksum":"([0-9a-f]{64})"\}\n$/;
/** Bytes of the last line. */
const CLOSING = closingOf("0".repeat(64)).length;

/** Replaces the file: a reader, or a crash at any moment, sees the old one or the new one. Resolves with its size. */
export async function writeConfig(
  directory: StateDirectory,
  kept: Kept,
  { identity, name }: Owner,
  program: string,
): Promise<Bytes> {
  await makeDirectory(directory.path);
  return replaceFile(join(directory.path, CONFIG_FILE), async (handle) => {
    const hash = createHash("sha256");
    let bytes = 0;
    let text = "";
    const write = async (): Promise<void> => {
      const piece = Buffer.from(text);
      text = "";
      hash.update(piece);
      bytes += piece.length;
      await handle.appendFile(piece);
    };
    for (const line of linesOf(kept, { identity, name }, program)) {
      text += `${JSON.stringify(line)}\n`;
      if (text.length >= PIECE) await write();
    }
    await write();
    await handle.appendFile(closingOf(hash.digest("hex")));
    return bytes + CLOSING;
  });
}

function* linesOf(
  { version, receivedAt, resources, interest }: Kept,
  owner: Owner,
  program: string,
): Generator<Head | Entry> {
  const { services, lookups } = interest;
  yield { format: FORMAT, owner, program, version, receivedAt, services };
  for (const [name, received] of resources) yield { name, ...received };
  for (const [lookup, found] of lookups)
    yield { lookup, services: found.services };
}

function closingOf(checksum: string): string {
  return `{"checksum":"${checksum}"}\n`;
}

/** What is on disk for `owner`; the reason where there is something that cannot be used. Never rejects. */
export async function readConfig(
  directory: StateDirectory,
  owner: Owner,
  program: string,
  clock: Clock,
): Promise<Kept | Unusable | undefined> {
  const file = join(directory.path, CONFIG_FILE);
  const unusable = (why: string): Unusable => ({
    reason: `${file} is not used: ${why}`,
  });
  let text: Buffer;
  try {
    text = await again(clock, () => readBytes(file));
  } catch (thrown) {
    return systemCode(thrown) === "ENOENT"
      ? undefined
      : unusable(messageOf(thrown));
  }
  const covered = text.subarray(0, -CLOSING);
  const [, checksum] =
    CHECKSUM.exec(text.toString("latin1", covered.length)) ?? [];
  if (checksum !== createHash("sha256").update(covered).digest("hex"))
    return unusable(
      "its checksum does not fit: it was cut short or changed, and a policy may be missing",
    );
  // Past the checksum the file is as a program of ours wrote it.
  const lines = linesIn(covered);
  const head = lines.next().value as Head;
  const fault = faultOf(head, owner);
  if (fault !== undefined) return unusable(fault);
  const entries = new Map<string, ReceivedResource>();
  const lookups = new Map<string, Lookup>();
  for (const line of lines) {
    const entry = line as Entry;
    if ("lookup" in entry)
      lookups.set(entry.lookup, { services: entry.services });
    else {
      const { name, ...received } = entry;
      entries.set(name, received);
    }
  }
  const read = checked(entries, head.program, program);
  if ("fault" in read) return unusable(read.fault);
  const { version, receivedAt, services } = head;
  const { resources } = read;
  return { version, receivedAt, resources, interest: { services, lookups } };
}

/** Rejects where it is too large, too. */
async function readBytes(file: string): Promise<Buffer> {
  await using handle: FileHandle = await open(file, "r");
  const { size } = await handle.stat();
  if (size > LARGEST) throw new Error(`it has ${size} bytes`);
  await closeFile(handle, file);
  return await handle.readFile();
}

function* linesIn(text: Buffer): Generator {
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    yield JSON.parse(text.toString("utf8", at, end));
    at = end + 1;
  }
}

function faultOf(head: Head, owner: Owner): string | undefined {
  if (head.format !== FORMAT)
    return `it is of format ${head.format}, and this version reads ${FORMAT}`;
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
