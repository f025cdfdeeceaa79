/** Resources from a file or a directory of files, checked as `wherry lint` checks them. Runs in a thread of its own beside calls that are served. */
import { createHash, hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { messageOf } from "../../core/errors.ts";
import type { Bytes, WallMs } from "../../core/units.ts";
import { resourceName } from "../../push/names.ts";
import { keyOf } from "../../resources/envelope.ts";
import {
  formatFinding,
  lintTexts,
  type Finding,
} from "../../resources/lint.ts";
import { listResources, lookAt } from "./look.ts";

export interface ReadRequest {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly path: string;
  /** How they stood when nobody had written to them for a while (`lookAt`). */
  readonly signature: string;
  readonly maxBytes: Bytes;
  readonly wall: WallMs;
  /** Digests of the resources in force, by their names. */
  readonly inForce: ReadonlyMap<string, string>;
}

export type ResourcesRead =
  | { readonly kind: "read"; readonly files: ReadFiles }
  /** They do not stand as they did. */
  | { readonly kind: "changed" }
  | { readonly kind: "unusable"; readonly reason: string };

export interface ReadFiles {
  /** Digest of the texts. */
  readonly digest: string;
  /** Those that say something else than what is in force. */
  readonly changed: readonly ChangedResource[];
  /** Names of resources in force that are in no file. */
  readonly removed: readonly string[];
  /** How many resources each file holds. */
  readonly counts: ReadonlyMap<string, number>;
  /** As compilers print them. */
  readonly warnings: readonly string[];
}

interface ChangedResource {
  readonly name: string;
  readonly digest: string;
  readonly json: string;
}

/** Findings that a message lists. */
const MOST_SHOWN = 20;

/** Never rejects. */
export async function readResources(
  request: ReadRequest,
): Promise<ResourcesRead> {
  try {
    return await read(request);
  } catch (thrown) {
    const reason = `the resources cannot be read: ${messageOf(thrown)}`;
    return { kind: "unusable", reason };
  }
}

async function read({
  path,
  signature,
  maxBytes,
  wall,
  inForce,
}: ReadRequest): Promise<ResourcesRead> {
  const list = (): Promise<readonly string[]> => listResources(path);
  const files = await list();
  if (files.length === 0)
    return unusable(`${path} has no file that ends in .yaml, .yml or .json`);
  const before = await lookAt(list);
  if (before.signature !== signature) return { kind: "changed" };
  if (before.bytes > maxBytes)
    return unusable(`${path} holds more than ${maxBytes} bytes of resources`);
  const texts: { readonly file: string; readonly text: string }[] = [];
  const whole = createHash("sha256");
  for (const file of files) {
    const text = await readFile(file, "utf8");
    texts.push({ file, text });
    whole.update(`${file}\0${hash("sha256", text)}`);
  }
  if ((await lookAt(list)).signature !== signature) return { kind: "changed" };
  const { resources, findings } = lintTexts(texts, { wall });
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length > 0) return unusable(listed(errors).join("\n"));
  const counts = new Map(files.map((file) => [file, 0]));
  const changed: ChangedResource[] = [];
  const gone = new Set(inForce.keys());
  for (const { resource, file } of resources) {
    counts.set(file, (counts.get(file) ?? 0) + 1);
    const name = resourceName(keyOf(resource));
    const json = JSON.stringify(resource);
    const digest = hash("sha256", json, "base64");
    gone.delete(name);
    if (inForce.get(name) !== digest) changed.push({ name, digest, json });
  }
  const warnings = findings.map(formatFinding);
  const removed = [...gone];
  const digest = whole.digest("hex");
  return {
    kind: "read",
    files: { digest, changed, removed, counts, warnings },
  };
}

function unusable(reason: string): ResourcesRead {
  return { kind: "unusable", reason };
}

function listed(findings: readonly Finding[]): readonly string[] {
  const shown = findings.slice(0, MOST_SHOWN).map(formatFinding);
  const more = findings.length - shown.length;
  return more === 0 ? shown : [...shown, `and ${more} more`];
}
