/** The parts of resource files, a document each: parsed and validated once, for as long as a text stays what it is. */
import { hash } from "node:crypto";
import { resourceName } from "../../push/names.ts";
import { keyOf, type Resource } from "../../resources/envelope.ts";
import { readDocuments, type Finding } from "../../resources/lint.ts";
import { splitDocuments, type Part } from "../../resources/yaml-split.ts";
import type { ReceivedResource, ReceivedResources } from "../staging.ts";

/** What a text says, in whichever file it is. */
export interface Content {
  readonly entries: readonly Entry[];
  /** Of each document by itself, at positions within the text. */
  readonly findings: readonly Finding[];
}

interface Entry {
  /** "Service/shop/orders" */
  readonly name: string;
  readonly received: ReceivedResource;
}

export interface FilePart extends Part {
  readonly file: string;
  /** Digest of its text. */
  readonly key: string;
  readonly content: Content;
}

export interface PlacedResource extends Entry {
  readonly resource: Resource;
  readonly part: FilePart;
  /** Which of the part's resources. */
  readonly index: number;
}

/**
 * The parts of a file's text. `known`: what was read of the same text before. `inForce`: a resource that says the same as one of these is
 * that one, so that whatever was made of it stays. May pause at each `yield`.
 */
export function* readParts(
  file: string,
  text: Buffer,
  known: ReadonlyMap<string, Content>,
  inForce: ReceivedResources,
): Generator<undefined, readonly FilePart[]> {
  const parts: FilePart[] = [];
  for (const part of splitDocuments(text)) {
    yield;
    const bytes = text.subarray(part.start, part.end);
    const key = keyOfText(bytes);
    const content =
      known.get(key) ?? readContent(bytes.toString("utf8"), inForce);
    parts.push({ ...part, file, key, content });
  }
  return parts;
}

export function keyOfText(text: Buffer): string {
  return hash("sha256", text, "base64");
}

export function placed(part: FilePart): PlacedResource[] {
  return part.content.entries.map(({ name, received }, index) => ({
    name,
    received,
    resource: received.resource,
    part,
    index,
  }));
}

function readContent(text: string, inForce: ReceivedResources): Content {
  const { resources, findings } = readDocuments({ file: "", text });
  return {
    entries: resources.map(({ resource }) => {
      const name = resourceName(keyOf(resource));
      const present = inForce.get(name);
      const received =
        present !== undefined && isSame(present.resource, resource)
          ? present
          : { version: "", resource, bytes: 0 };
      return { name, received };
    }),
    findings,
  };
}

/** As text: another order of fields is another resource, which costs no more than that it is compiled again. */
function isSame(one: Resource, other: Resource): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
