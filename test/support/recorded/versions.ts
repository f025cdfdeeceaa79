/** Other versions of Wherry than the one that is tested: an older one as it was recorded, and one that comes after this. */
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { SCHEMA_VERSION } from "../../../src/push/names.ts";
import { ROOT } from "../processes/demo.ts";

export interface Version {
  /** What Node is given to run it. */
  readonly main: string;
  remove(): void;
}

const RECORDED = new URL("schema-2.mjs.br", import.meta.url);

export function recordedVersion(): Version {
  const { folder, remove } = makeFolder("recorded");
  const main = join(folder, "src", "main.mjs");
  mkdirSync(join(folder, "src"));
  writeFileSync(main, brotliDecompressSync(readFileSync(RECORDED)));
  return { main, remove };
}

/** The push schema of the version that comes after this. */
const NEXT_SCHEMA = 9;

/** Every kind has in its spec a field that its table has, `tomorrow`, and one that the table misses, `overmorrow`. */
export function nextVersion(): Version {
  const { folder, remove } = makeFolder("next");
  cpSync(join(ROOT, "src"), join(folder, "src"), { recursive: true });
  const patch = (file: string, from: string, to: string): void => {
    const path = join(folder, "src", file);
    const text = readFileSync(path, "utf8");
    if (text.split(from).length !== 2)
      throw new Error(`${file} has not "${from}" once: patch it otherwise`);
    writeFileSync(path, text.replace(from, to));
  };
  patch(
    "resources/kind.ts",
    "spec: options.spec,",
    `spec: { ...options.spec, properties: { ...(options.spec as any).properties,
      tomorrow: { type: "boolean" }, overmorrow: { type: "boolean" } } } as any,`,
  );
  patch(
    "push/fields-since.ts",
    "export const FIELDS_SINCE: readonly FieldSince[] = [",
    `export const FIELDS_SINCE: readonly FieldSince[] = [
      ...["Mesh", "Service", "HTTPRoute", "TrafficPolicy", "FaultInjection", "PeerAuthentication", "AuthorizationPolicy"].map(
        (kind) => ({ kind, path: "spec.tomorrow", since: ${NEXT_SCHEMA}, without: "withheld" as const })),`,
  );
  patch(
    "push/names.ts",
    `export const SCHEMA_VERSION = ${SCHEMA_VERSION};`,
    `export const SCHEMA_VERSION = ${NEXT_SCHEMA};`,
  );
  return { main: join(folder, "src", "main.ts"), remove };
}

/** Inside the checkout, where its packages are found. */
function makeFolder(name: string): { folder: string; remove: () => void } {
  mkdirSync(join(ROOT, ".tap"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, ".tap", `${name}-`));
  for (const file of ["package.json", "package-lock.json"])
    copyFileSync(join(ROOT, file), join(folder, file));
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}
