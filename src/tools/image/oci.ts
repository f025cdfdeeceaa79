/** Writes an image as the OCI specification has it: layers by `tar`, and three small JSON documents that name each other by digest. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { RuntimeConfig } from "./config.ts";

const TYPES = {
  config: "application/vnd.oci.image.config.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  manifest: "application/vnd.oci.image.manifest.v1+json",
} as const;

/** Paths in it are relative to the layer's root. */
export interface LayerSource {
  readonly folder: string;
  /** Said in the image's history. */
  readonly about: string;
  /** Empty folders that have an owner or a mode of their own; all else is root's. */
  readonly folders?: readonly {
    readonly path: string;
    readonly user: number;
    readonly mode: string;
  }[];
}

export interface ImageSource {
  /** "wherry:0.1.0" */
  readonly reference: string;
  readonly architecture: string;
  /** RFC 3339 */
  readonly created: string;
  readonly layers: readonly LayerSource[];
  readonly config: RuntimeConfig;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Layer extends Descriptor {
  /** Digest of what is packed. */
  readonly diffId: string;
}

export interface WrittenImage {
  /** "sha256:…" of the manifest. */
  readonly digest: string;
  /** Bytes that are pulled: layers, config and manifest. */
  readonly size: number;
}

/**
 * Writes the image to `file`, an archive that podman, skopeo and Docker load. `folder` is an empty one for the parts. The same files, with
 * the same `created`, make the same image.
 */
export async function writeImage(
  { reference, architecture, created, layers: sources, config }: ImageSource,
  folder: string,
  file: string,
): Promise<WrittenImage> {
  await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
  const layers: Layer[] = [];
  for (const source of sources) layers.push(await writeLayer(source, folder));
  const configuration = await writeJson(folder, TYPES.config, {
    created,
    architecture,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: sources.map(({ about }) => ({ created, created_by: about })),
  });
  const manifest = await writeJson(folder, TYPES.manifest, {
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: configuration,
    layers: layers.map(({ diffId: _, ...descriptor }) => descriptor),
  });
  await writeIndex(folder, reference, manifest, [configuration, ...layers]);
  await run("tar", [
    ...tarOptions(),
    "--create",
    `--file=${file}`,
    `--directory=${folder}`,
    ...["oci-layout", "index.json", "manifest.json", "blobs"],
  ]);
  return {
    digest: manifest.digest,
    size: [manifest, configuration, ...layers].reduce(
      (sum, { size }) => sum + size,
      0,
    ),
  };
}

async function writeIndex(
  folder: string,
  reference: string,
  manifest: Descriptor,
  [configuration, ...layers]: readonly Descriptor[],
): Promise<void> {
  await writeFile(
    join(folder, "oci-layout"),
    JSON.stringify({ imageLayoutVersion: "1.0.0" }),
  );
  await writeFile(
    join(folder, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: TYPES.index,
      manifests: [
        {
          ...manifest,
          annotations: {
            "org.opencontainers.image.ref.name": reference,
            "io.containerd.image.name": reference,
          },
        },
      ],
    }),
  );
  // An older Docker loads an archive by this file alone.
  await writeFile(
    join(folder, "manifest.json"),
    JSON.stringify([
      {
        Config: configuration === undefined ? "" : blobOf(configuration.digest),
        RepoTags: [reference],
        Layers: layers.map(({ digest }) => blobOf(digest)),
      },
    ]),
  );
}

function blobOf(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

async function writeJson(
  folder: string,
  mediaType: string,
  value: unknown,
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  await writeFile(join(folder, blobOf(digest)), bytes);
  return { mediaType, digest, size: bytes.length };
}

async function writeLayer(source: LayerSource, folder: string): Promise<Layer> {
  const plain = join(folder, "layer.tar");
  await pack(source, plain);
  const inside = createHash("sha256");
  const outside = createHash("sha256");
  const packed = join(folder, "layer.tar.gz");
  await pipeline(
    createReadStream(plain),
    hashing(inside),
    createGzip({ level: 6 }),
    hashing(outside),
    createWriteStream(packed),
  );
  const digest = `sha256:${outside.digest("hex")}`;
  await rename(packed, join(folder, blobOf(digest)));
  await run("rm", [plain]);
  const { size } = await stat(join(folder, blobOf(digest)));
  return {
    mediaType: TYPES.layer,
    digest,
    size,
    diffId: `sha256:${inside.digest("hex")}`,
  };
}

async function pack(
  { folder, folders = [] }: LayerSource,
  file: string,
): Promise<void> {
  const inFolder = [`--file=${file}`, `--directory=${folder}`];
  await run("tar", [
    ...tarOptions(),
    "--create",
    ...inFolder,
    ...["--owner=0", "--group=0", "--mode=u=rwX,go=rX"],
    ...folders.map(({ path }) => `--exclude=./${path}`),
    ".",
  ]);
  for (const { path, user, mode } of folders)
    await run("tar", [
      ...tarOptions(),
      "--append",
      ...inFolder,
      ...[`--owner=${user}`, `--group=${user}`, `--mode=${mode}`],
      `./${path}`,
    ]);
}

/** Nothing of this machine gets into the archive: no order of its own, no time, no names of users. */
function tarOptions(): readonly string[] {
  return [
    "--format=pax",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sort=name",
    "--mtime=@0",
    "--numeric-owner",
  ];
}

function hashing(hash: { update(chunk: Buffer): unknown }): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(undefined, chunk);
    },
  });
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const said = textOf(child.stderr);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`${command} failed: ${await said}`);
}

async function textOf(stream: Readable): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text.trim();
}
