/** Puts together what resource files hold, and checks it as one mesh. */
import { createHash } from "node:crypto";
import { PersistentMap } from "../../core/persistent/map.ts";
import { sortSteps, type Steps } from "../../core/slices.ts";
import type { WallMs } from "../../core/units.ts";
import { resourceName } from "../../push/names.ts";
import { checkTogether } from "../../resources/cross-checks/check-together.ts";
import {
  concernedBy,
  type ResourceChange,
} from "../../resources/cross-checks/concerned.ts";
import type { Lookup } from "../../resources/cross-checks/references.ts";
import { formatKey, keyOf, type Resource } from "../../resources/envelope.ts";
import type { Problem } from "../../resources/kind.ts";
import type { ReceivedResource } from "../staging.ts";
import type { FileFacts } from "./doubt.ts";
import type { Entry, FilePart, PlacedEntry } from "./parts.ts";
import { ownRemarks, remarkOf, type Remark } from "./remarks.ts";

/** A file as it was read. */
export interface KnownFile extends FileFacts {
  readonly parts: readonly FilePart[];
  /** Digest of the texts of its parts. */
  readonly digest: string;
}

export type KnownFiles = ReadonlyMap<string, KnownFile>;

/** What each resource has with others, by its name: those alone that have something. */
type Problems = ReadonlyMap<string, readonly Problem[]>;

export interface LoadedFiles {
  readonly files: KnownFiles;
  readonly resources: PersistentMap<ReceivedResource>;
  /** Digest of the texts themselves. */
  readonly digest: string;
  readonly problems: Problems;
  /** By file and place; errors where there are any. */
  readonly remarks: readonly Remark[];
}

/** `before`: files in which there were no errors. What it costs beyond a look at each file is what has changed since, as far as that can be followed. */
export function* checkFiles(
  files: KnownFiles,
  wall: WallMs,
  before: LoadedFiles | undefined,
): Steps<LoadedFiles> {
  const found =
    (before === undefined
      ? undefined
      : yield* checkChange(files, wall, before)) ??
    (yield* checkAll(files, wall));
  const { resources, problems, twins = [] } = found;
  const remarks: Remark[] = [];
  const hash = createHash("sha256");
  for (const [file, { digest, parts }] of files) {
    yield;
    hash.update(`${file}\0${digest}`);
    for (const part of parts) {
      if (part.content.findings.length === 0) continue;
      for (const remark of ownRemarks(part)) remarks.push(remark);
    }
  }
  const wanted = new Set(problems.keys());
  for (const { entry } of twins) wanted.add(entry.name);
  const places = yield* placesOf(files, wanted);
  for (const twin of twins)
    remarks.push(duplicate(twin, places.get(twin.entry.name) ?? twin));
  for (const [name, some] of problems) {
    yield;
    const place = places.get(name);
    if (place === undefined) continue;
    for (const problem of some) remarks.push(remarkOf(place, problem));
  }
  const digest = hash.digest("hex");
  const ordered = yield* inOrder(remarks, files);
  return { files, resources, digest, problems, remarks: ordered };
}

interface Found {
  readonly resources: PersistentMap<ReceivedResource>;
  readonly problems: Problems;
  /** Those of a name that another has already. */
  readonly twins?: readonly PlacedEntry[];
}

function* checkAll(files: KnownFiles, wall: WallMs): Steps<Found> {
  const edit = new PersistentMap<ReceivedResource>().edit();
  const all: Entry[] = [];
  const twins: PlacedEntry[] = [];
  for (const { parts } of files.values())
    for (const part of parts) {
      yield;
      for (const entry of part.content.entries) {
        yield;
        if (edit.get(entry.name) !== undefined) twins.push({ entry, part });
        else {
          edit.set(entry.name, entry.received);
          all.push(entry);
        }
      }
    }
  const resources = edit.done();
  const problems = new Map<string, Problem[]>();
  const found = yield* checkTogether(all, lookupIn(resources), wall);
  for (const { about, problem } of found) {
    yield;
    addTo(problems, about.name, problem);
  }
  return { resources, problems, twins };
}

/** Undefined where all has to be looked at. */
function* checkChange(
  files: KnownFiles,
  wall: WallMs,
  before: LoadedFiles,
): Steps<Found | undefined> {
  const resources = yield* resourcesSince(files, before);
  if (resources === undefined) return undefined;
  const changes: ResourceChange[] = [];
  const problems = new Map(before.problems);
  for (const { key, before: old, after } of resources.since(before.resources)) {
    yield;
    changes.push({ before: old?.resource, after: after?.resource });
    if (after === undefined) problems.delete(key);
  }
  const lookup = lookupIn(resources);
  const concerned = yield* concernedBy(
    changes,
    { [Symbol.iterator]: () => resourcesIn(resources) },
    lookup,
  );
  if (concerned === undefined) return undefined;
  for (const resource of concerned.about)
    problems.delete(resourceName(keyOf(resource)));
  const changed = new Map<string, Problem[]>();
  const all = concerned.all.map((resource) => ({ resource }));
  const found = yield* checkTogether(all, lookup, wall);
  for (const { about, problem } of found)
    if (concerned.about.has(about.resource))
      addTo(changed, resourceName(keyOf(about.resource)), problem);
  for (const [name, some] of changed) problems.set(name, some);
  return { resources, problems };
}

/** Undefined where two have the same name. */
function* resourcesSince(
  files: KnownFiles,
  before: LoadedFiles,
): Steps<PersistentMap<ReceivedResource> | undefined> {
  const gone: Entry[] = [];
  const come: Entry[] = [];
  for (const [file, known] of files) {
    yield;
    const old = before.files.get(file);
    if (old !== known)
      yield* compareParts(old?.parts ?? [], known.parts, gone, come);
  }
  for (const [file, { parts }] of before.files) {
    yield;
    if (!files.has(file)) yield* compareParts(parts, [], gone, come);
  }
  const edit = before.resources.edit();
  for (const { name } of gone) {
    yield;
    edit.delete(name);
  }
  for (const { name, received } of come) {
    yield;
    if (edit.get(name) !== undefined) return undefined;
    edit.set(name, received);
  }
  return edit.done();
}

/** Without the parts at the beginning and at the end that say what they said. */
function* compareParts(
  before: readonly FilePart[],
  after: readonly FilePart[],
  gone: Entry[],
  come: Entry[],
): Steps<void> {
  const same = (one: number, other: number): boolean =>
    before[one]?.content === after[other]?.content;
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && same(start, start)) {
    yield;
    start += 1;
  }
  let end = 0;
  while (
    end < most - start &&
    same(before.length - 1 - end, after.length - 1 - end)
  ) {
    yield;
    end += 1;
  }
  for (const { content } of before.slice(start, before.length - end)) {
    yield;
    for (const entry of content.entries) gone.push(entry);
  }
  for (const { content } of after.slice(start, after.length - end)) {
    yield;
    for (const entry of content.entries) come.push(entry);
  }
}

function lookupIn(resources: PersistentMap<ReceivedResource>): Lookup {
  return (key) => resources.get(resourceName(key))?.resource;
}

function* resourcesIn(
  resources: PersistentMap<ReceivedResource>,
): Generator<Resource> {
  for (const { resource } of resources.values()) yield resource;
}

function addTo(
  problems: Map<string, Problem[]>,
  name: string,
  problem: Problem,
): void {
  const some = problems.get(name);
  if (some === undefined) problems.set(name, [problem]);
  else some.push(problem);
}

/** Where each of these resources is first. */
function* placesOf(
  files: KnownFiles,
  wanted: ReadonlySet<string>,
): Steps<ReadonlyMap<string, PlacedEntry>> {
  const places = new Map<string, PlacedEntry>();
  if (wanted.size === 0) return places;
  for (const { parts } of files.values())
    for (const part of parts) {
      yield;
      for (const entry of part.content.entries)
        if (wanted.has(entry.name) && !places.has(entry.name))
          places.set(entry.name, { entry, part });
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
