/** Puts together what resource files hold, and checks it as one mesh. */
import { createHash } from "node:crypto";
import { sortSteps, type Steps } from "../../core/slices.ts";
import type { WallMs } from "../../core/units.ts";
import { resourceName } from "../../push/names.ts";
import { checkTogether } from "../../resources/cross-checks/check-together.ts";
import type { Lookup } from "../../resources/cross-checks/references.ts";
import { formatKey, keyOf } from "../../resources/envelope.ts";
import type { ReceivedResource, ReceivedResources } from "../staging.ts";
import type { FileFacts, Facts } from "./doubt.ts";
import type { Entry, FilePart, PlacedEntry } from "./parts.ts";
import { ownRemarks, remarkOf, type Remark } from "./remarks.ts";

/** A file as it was read. */
export interface KnownFile {
  readonly facts: FileFacts;
  readonly parts: readonly FilePart[];
}

export type KnownFiles = ReadonlyMap<string, KnownFile>;

export interface LoadedFiles {
  readonly resources: ReceivedResources;
  /** Digest of the texts themselves. */
  readonly digest: string;
  readonly facts: Facts;
  /** By file and place; errors where there are any. */
  readonly remarks: readonly Remark[];
}

export function* checkFiles(
  files: KnownFiles,
  wall: WallMs,
): Steps<LoadedFiles> {
  const hash = createHash("sha256");
  const facts = new Map<string, FileFacts>();
  const resources = new Map<string, ReceivedResource>();
  const all: Entry[] = [];
  const twins: PlacedEntry[] = [];
  const remarks: Remark[] = [];
  for (const [file, known] of files) {
    facts.set(file, known.facts);
    hash.update(`${file}\0`);
    for (const part of known.parts) {
      yield;
      hash.update(part.content.key);
      for (const remark of ownRemarks(part)) remarks.push(remark);
      for (const entry of part.content.entries) {
        yield;
        if (resources.has(entry.name)) twins.push({ entry, part });
        else {
          resources.set(entry.name, entry.received);
          all.push(entry);
        }
      }
    }
  }
  const lookup: Lookup = (key) => resources.get(resourceName(key))?.resource;
  const found = yield* checkTogether(all, lookup, wall);
  if (twins.length > 0 || found.length > 0) {
    const places = yield* placesOf(files);
    for (const twin of twins)
      remarks.push(duplicate(twin, places.get(twin.entry.name) ?? twin));
    for (const { about, problem } of found) {
      yield;
      const place = places.get(about.name);
      if (place !== undefined) remarks.push(remarkOf(place, problem));
    }
  }
  return {
    resources,
    digest: hash.digest("hex"),
    facts,
    remarks: yield* inOrder(remarks, files),
  };
}

/** Where each resource is first. */
function* placesOf(files: KnownFiles): Steps<ReadonlyMap<string, PlacedEntry>> {
  const places = new Map<string, PlacedEntry>();
  for (const { parts } of files.values())
    for (const part of parts) {
      yield;
      for (const entry of part.content.entries)
        if (!places.has(entry.name)) places.set(entry.name, { entry, part });
    }
  return places;
}

function duplicate(one: PlacedEntry, earlier: PlacedEntry): Remark {
  const message = `${formatKey(keyOf(one.entry.resource))} is in`;
  return {
    ...remarkOf(one, { path: "metadata.name", message }),
    twin: remarkOf(earlier, { path: "", message: "" }),
  };
}

/** By file and place. */
function* inOrder(
  remarks: readonly Remark[],
  files: KnownFiles,
): Steps<readonly Remark[]> {
  if (remarks.length < 2) return remarks;
  const order = new Map<string, number>();
  for (const file of files.keys()) {
    yield;
    order.set(file, order.size);
  }
  return yield* sortSteps(
    remarks,
    ({ part: a }, { part: b }) =>
      (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.start - b.start,
  );
}
