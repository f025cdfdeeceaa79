/** A resource as a sidecar of schema 3 gets it: its JSON, deflated with a dictionary that both ends have, and inflated within a bound. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { systemCode } from "../core/errors.ts";
import type { Bytes } from "../core/units.ts";
import { DICTIONARY } from "./dictionary.ts";
import { resourceName } from "./names.ts";

/** JSON that travels packed. What is longer travels as it is, so that no few bytes become many. */
export const LONGEST_PACKED: Bytes = 16 * 1024;

/** What the packed resources of one message may become: as much as a message of plain ones may have. */
export const MOST_UNPACKED: Bytes = 4 * 1024 * 1024;

/** How far zlib looks back, as a power of two: the dictionary and a resource of a usual size. Part of the wire format. */
const WINDOW = 13;
const DEFLATE = {
  level: 9,
  windowBits: WINDOW,
  memLevel: 6,
  chunkSize: 1024,
  dictionary: DICTIONARY,
} as const;
const INFLATE = {
  windowBits: WINDOW,
  chunkSize: 2048,
  dictionary: DICTIONARY,
} as const;

/** What a packed resource says of itself, and its JSON. */
export interface Unpacked {
  readonly name: string;
  readonly version: string;
  readonly json: Buffer;
}

export function pack(json: Uint8Array): Buffer {
  return deflateRawSync(json, DEFLATE);
}

/** `most`: bytes that it may become. Throws on what becomes more, and on what is not a resource. */
export function unpack(packed: Uint8Array, most: Bytes): Unpacked {
  const json = inflated(packed, Math.min(most, LONGEST_PACKED));
  const { kind, metadata } = (JSON.parse(json.toString("utf8")) ?? {}) as {
    readonly kind?: unknown;
    readonly metadata?: Readonly<Record<string, unknown>>;
  };
  const { name, namespace = "", resourceVersion = "" } = metadata ?? {};
  if (
    typeof kind !== "string" ||
    typeof namespace !== "string" ||
    typeof name !== "string" ||
    typeof resourceVersion !== "string"
  )
    throw new TypeError("a packed resource has no kind, name or version");
  return {
    name: resourceName({ kind, namespace, name }),
    version: resourceVersion,
    json,
  };
}

function inflated(packed: Uint8Array, most: Bytes): Buffer {
  if (most > 0)
    try {
      return inflateRawSync(packed, { ...INFLATE, maxOutputLength: most });
    } catch (thrown) {
      if (systemCode(thrown) !== "ERR_BUFFER_TOO_LARGE") throw thrown;
    }
  throw new TypeError(
    most < LONGEST_PACKED
      ? `the packed resources of a message become more than ${MOST_UNPACKED} bytes`
      : `a packed resource becomes more than ${LONGEST_PACKED} bytes`,
  );
}
