// An image is its files, its owners and its digests, and the same files make the same image.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { RUNTIME } from "../../../src/tools/image/config.ts";
import { writeImage, type WrittenImage } from "../../../src/tools/image/oci.ts";

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

const STATE = { path: "var/state", user: 1337, mode: "0700" } as const;

/** A small image in `folder`, of files with odd modes. */
async function makeImage(
  folder: string,
  created = "2026-01-02T03:04:05Z",
): Promise<WrittenImage> {
  const files = join(folder, "files");
  mkdirSync(join(files, STATE.path), { recursive: true });
  writeFileSync(join(files, "program"), "run\n");
  chmodSync(join(files, "program"), 0o700);
  writeFileSync(join(files, "note"), "read\n");
  chmodSync(join(files, "note"), 0o600);
  return writeImage(
    {
      reference: "small:1",
      architecture: "amd64",
      created,
      layers: [{ folder: files, about: "all", folders: [STATE] }],
      config: RUNTIME,
    },
    join(folder, "parts"),
    join(folder, "image.tar"),
  );
}

function partOf(folder: string, { digest }: Descriptor): unknown {
  const bytes = readFileSync(
    join(folder, "parts", "blobs", digest.replace(":", "/")),
  );
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (`sha256:${actual}` !== digest) throw new Error(`${digest} is ${actual}`);
  return JSON.parse(bytes.toString());
}

void t.test("documents name each other by digest", async (t) => {
  const folder = t.testdir({});
  const { digest, size } = await makeImage(folder);
  const manifest = partOf(folder, { digest, size: 0 }) as {
    readonly config: Descriptor;
    readonly layers: readonly Descriptor[];
  };
  const config = partOf(folder, manifest.config) as {
    readonly config: unknown;
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  t.same(config.config, RUNTIME);
  const [layer] = manifest.layers;
  const packed = readFileSync(
    join(folder, "parts", "blobs", layer?.digest.replace(":", "/") ?? ""),
  );
  t.equal(packed.length, layer?.size);
  t.equal(
    `sha256:${createHash("sha256").update(gunzipSync(packed)).digest("hex")}`,
    config.rootfs.diff_ids[0],
  );
  t.ok(size > packed.length && size < packed.length + 4096, `${size} bytes`);
  t.same(
    execFileSync("tar", ["--list", `--file=${join(folder, "image.tar")}`])
      .toString()
      .split("\n")
      .filter((name) => !name.startsWith("blobs") && name !== ""),
    ["oci-layout", "index.json", "manifest.json"],
  );
});

void t.test(
  "files are root's and readable, folders as they are told",
  async (t) => {
    const folder = t.testdir({});
    await makeImage(folder);
    const [layer = ""] = layersOf(folder);
    const rows = execFileSync("tar", [
      "--list",
      "--verbose",
      "--numeric-owner",
      "--gzip",
      `--file=${join(folder, "parts", layer)}`,
    ])
      .toString()
      .trim()
      .split("\n")
      .map((row) => row.split(/\s+/));
    t.same(
      rows.map(([mode, owner, , , , path]) => [mode, owner, path]),
      [
        ["drwxr-xr-x", "0/0", "./"],
        ["-rw-r--r--", "0/0", "./note"],
        ["-rwxr-xr-x", "0/0", "./program"],
        ["drwxr-xr-x", "0/0", "./var/"],
        ["drwx------", "1337/1337", "./var/state/"],
      ],
    );
  },
);

void t.test("the same files make the same image", async (t) => {
  const one = await makeImage(t.testdir({}));
  const again = await makeAgain(t);
  t.equal(again.digest, one.digest);
  const later = await makeAgain(t, "2026-01-02T03:04:06Z");
  t.not(later.digest, one.digest);
});

async function makeAgain(t: Test, created?: string): Promise<WrittenImage> {
  let made: WrittenImage | undefined;
  await t.test("again", async (t) => {
    made = await makeImage(t.testdir({}), created);
  });
  if (made === undefined) throw new Error("not made");
  return made;
}

function layersOf(folder: string): readonly string[] {
  const [first] = JSON.parse(
    readFileSync(join(folder, "parts", "manifest.json"), "utf8"),
  ) as [{ readonly Layers: readonly string[] }];
  return first.Layers;
}

void t.test("a folder that cannot be packed is an error", async (t) => {
  const folder = t.testdir({});
  await t.rejects(
    writeImage(
      {
        reference: "small:1",
        architecture: "amd64",
        created: "2026-01-02T03:04:05Z",
        layers: [{ folder: join(folder, "missing"), about: "nothing" }],
        config: RUNTIME,
      },
      join(folder, "parts"),
      join(folder, "image.tar"),
    ),
    /tar failed: .*missing/s,
  );
});
