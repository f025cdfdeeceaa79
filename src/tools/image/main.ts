/** `npm run image`: the image of this checkout as an archive that engines load, with the list of its parts; no engine is needed. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { systemClock, timestamp } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { packageVersion } from "../../runtime/package.ts";
import { ARCHITECTURES, CHECKOUT, RUNTIME } from "./config.ts";
import { writeImage } from "./oci.ts";
import { FOLDERS, layOut, merge } from "./root.ts";
import { makeSbom } from "./sbom.ts";

const USAGE = `npm run image -- [--tag NAME:TAG] [FILE]
npm run image -- --root FOLDER

Writes the image to FILE (image/wherry-VERSION.tar), and the list of its parts to a file beside it that ends in .cdx.json.
With --root, writes the files of the image to an empty folder instead.
`;

interface Wanted {
  readonly file: string;
  readonly tag: string;
  /** In place of an image. */
  readonly root: string | undefined;
}

async function main(argv: readonly string[]): Promise<void> {
  const wanted = wantedBy(argv);
  if (wanted === undefined) return;
  const architecture = ARCHITECTURES[process.arch];
  if (process.platform !== "linux" || architecture === undefined)
    throw new UserError(
      `no image can be made on ${process.platform}/${process.arch}: its Node and libraries are this machine's, and expected are Linux on x64 or arm64`,
    );
  const folder = await mkdtemp(join(tmpdir(), "wherry-image-"));
  try {
    await make(wanted, architecture, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Undefined where help was asked for, and given. */
function wantedBy(argv: readonly string[]): Wanted | undefined {
  const version = packageVersion();
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        help: { type: "boolean" },
        root: { type: "string" },
        tag: { type: "string" },
      },
    });
  } catch (thrown) {
    throw new UserError(`${messageOf(thrown)}\n\n${USAGE}`);
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    process.stdout.write(USAGE);
    return undefined;
  }
  if (positionals.length > 1)
    throw new UserError(`expected one FILE\n\n${USAGE}`);
  return {
    file: resolve(
      positionals[0] ?? join(CHECKOUT, "image", `wherry-${version}.tar`),
    ),
    tag: values.tag ?? `wherry:${version}`,
    root: values.root === undefined ? undefined : resolve(values.root),
  };
}

async function make(
  { file, tag, root }: Wanted,
  architecture: string,
  folder: string,
): Promise<void> {
  if (root !== undefined && existsSync(root) && readdirSync(root).length > 0)
    throw new UserError(
      `${root} is not empty: name a folder that is, or that is not there yet`,
    );
  const node = pinnedNode();
  const version = execFileSync(node, ["--version"], { encoding: "utf8" })
    .trim()
    .replace(/^v/, "");
  const layers = layOut(join(folder, "files"), node);
  const sbom = `${JSON.stringify(makeSbom(layers, version), undefined, 2)}\n`;
  await writeFile(join(layers.program, "opt/wherry/sbom.cdx.json"), sbom);
  if (root !== undefined) {
    merge(layers, root);
    return;
  }
  await mkdir(dirname(file), { recursive: true });
  // Whole or not at all: an engine that loads half of one says nothing useful.
  const beside = join(dirname(file), `.${basename(file)}.${process.pid}`);
  const { digest, size } = await writeImage(
    {
      reference: tag,
      architecture,
      created: createdAt(),
      layers: [
        { folder: layers.base, about: `Node ${version}`, folders: FOLDERS },
        { folder: layers.program, about: `Wherry ${packageVersion()}` },
      ],
      config: {
        ...RUNTIME,
        Labels: {
          "org.opencontainers.image.title": "wherry",
          "org.opencontainers.image.version": packageVersion(),
          "org.opencontainers.image.licenses": "Apache-2.0",
        },
      },
    },
    join(folder, "image"),
    beside,
  );
  await rename(beside, file);
  await writeFile(`${file.replace(/\.tar$/, "")}.cdx.json`, sbom);
  process.stdout.write(
    `${file}: ${tag}, ${(size / 1e6).toFixed(1)} MB, ${digest}\n`,
  );
}

/** The one that the lock file pins, whichever runs this. */
function pinnedNode(): string {
  const node = join(CHECKOUT, "node_modules", "node", "bin", "node");
  if (!existsSync(node))
    throw new UserError(`${node} is missing: run "npm ci" in ${CHECKOUT}`);
  return node;
}

/** As other builds have it: who wants the same image of the same checkout says which time it is to bear. */
function createdAt(): string {
  const epoch = Number(process.env["SOURCE_DATE_EPOCH"] ?? Number.NaN);
  return timestamp(Number.isFinite(epoch) ? epoch * 1000 : systemClock.wall());
}

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  if (!(thrown instanceof UserError)) throw thrown;
  process.stderr.write(`image: ${thrown.message}\n`);
  process.exitCode = 1;
}
