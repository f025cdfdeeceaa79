/** The parts of resource files, a document each: parsed and validated once, for as long as a text stays what it is. */
import { createHash, hash } from "node:crypto";
import type { Steps } from "../../core/slices.ts";
import { resourceName } from "../../push/names.ts";
import { keyOf, type Resource } from "../../resources/envelope.ts";
import { readDocuments, type Finding } from "../../resources/lint.ts";
import { splitDocuments, type Part } from "../../resources/yaml-split.ts";
import type { ReceivedResource, ReceivedResources } from "../staging.ts";

/** What a text says, in whichever file it is. */
export interface Content {
  /** Digest of the text. */
  readonly key: string;
  readonly entries: readonly Entry[];
  /** What is wrong with each document by itself, at positions within the text. */
  readonly findings: readonly Finding[];
}

export interface Entry {
  /** "Service/shop/orders" */
  readonly name: string;
  readonly received: ReceivedResource;
  readonly resource: Resource;
  /** Which of the text's resources. */
  readonly index: number;
}

/** A part that is not read yet. */
export interface Cut extends Part {
  readonly key: string;
}

export interface FilePart extends Part {
  readonly file: string;
  readonly content: Content;
}

export interface PlacedEntry {
  readonly entry: Entry;
  readonly part: FilePart;
}

/** Most documents have none: one array for all of them. */
const NONE: readonly Finding[] = [];
/** Bytes that are hashed in one step. */
const PIECE = 64 * 1024;

export function* cutText(text: Buffer): Steps<Cut[]> {
  const cuts: Cut[] = [];
  for (const part of yield* splitDocuments(text)) {
    yield;
    const key = yield* keyOfText(text.subarray(part.start, part.end));
    cuts.push({ ...part, key });
  }
  return cuts;
}

export function* keyOfText(text: Buffer): Steps<string> {
  if (text.length <= PIECE) return hash("sha256", text, "base64");
  const whole = createHash("sha256");
  for (let at = 0; at < text.length; at += PIECE) {
    yield;
    whole.update(text.subarray(at, at + PIECE));
  }
  return whole.digest("base64");
}

/** The parts of a file's text. `known`: what was read of the same text before. `inForce`: as `entryOf` has it. */
export function* readParts(
  file: string,
  text: Buffer,
  cuts: readonly Cut[],
  known: ReadonlyMap<string, Content>,
  inForce: ReceivedResources,
): Steps<readonly FilePart[]> {
  const parts: FilePart[] = [];
  for (const { start, end, key } of cuts) {
    yield;
    const content =
      known.get(key) ??
      readContent(key, text.toString("utf8", start, end), inForce);
    parts.push({ start, end, file, content });
  }
  return parts;
}

function readContent(
  key: string,
  text: string,
  inForce: ReceivedResources,
): Content {
  const { resources, findings } = readDocuments({ file: "", text });
  const entries = resources.map(({ resource }, index) => {
    const json = JSON.stringify(resource);
    // What was parsed has pieces of the text in it, and each of them keeps all of the text.
    return entryOf(JSON.parse(json) as Resource, json, index, inForce);
  });
  return { key, entries, findings: findings.length > 0 ? findings : NONE };
}

/**
 * A resource that says the same as one in force is that one, so that whatever was made of it stays. They are compared as text: another order of
 * fields is another resource, which costs no more than that it is compiled again.
 */
export function entryOf(
  resource: Resource,
  json: string,
  index: number,
  inForce: ReceivedResources,
): Entry {
  const name = resourceName(keyOf(resource));
  const present = inForce.get(name);
  const received =
    present !== undefined && JSON.stringify(present.resource) === json
      ? present
      : { version: "", resource, bytes: 0 };
  return { name, received, resource: received.resource, index };
}
