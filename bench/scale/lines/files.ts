/** A sidecar whose mesh is a folder of files, one for each Service: what an edit of one document costs it. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { makeCertificates } from "../../certificates.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, type Figure } from "../figures.ts";
import {
  bundleOf,
  meshResource,
  nameOf,
  unusedOf,
  type Shape,
  type Variant,
} from "../mesh.ts";
import { changeRows, Observer, quietRows } from "../observe.ts";
import { startSidecar, type Sidecar } from "../sidecar.ts";

const EDITS = 10;
const UNUSED_EDITS = 5;
const QUIET = 6000;
/** Milliseconds behind an edit that is seen to be in force, and behind one that is not: files are read once they have been left alone for a moment. */
const SETTLE = 500;
const SETTLE_UNSEEN = 2500;

export async function measureFiles(bed: Bed): Promise<Figure[]> {
  const { clock, say } = bed.around;
  const folder = join(bed.around.directory, "resources");
  say("  files: writing");
  await writeFiles(folder, bed.shape);
  const sidecar = await startFrom(bed, folder);
  const load = bed.load();
  try {
    await bed.warmUp(load);
    const observer = new Observer(sidecar, load, clock);
    const quiet = await observer.quiet(QUIET);
    const used = bed.shape.used[0] ?? 0;
    const unused = unusedOf(bed.shape);
    const edit = (service: number, generation: string): Promise<number> =>
      writeService(folder, bed.shape, service, { generation }).then(() => 0);
    say("  files: edits");
    const ofUnused = await observer.series(
      UNUSED_EDITS,
      SETTLE_UNSEEN,
      (index) => {
        const service = unused[(index * 37) % unused.length] ?? 0;
        return { apply: () => edit(service, `unused-${index}`) };
      },
    );
    const ofUsed = await observer.series(EDITS, SETTLE, (index) => {
      const generation = `file-${index}`;
      return {
        apply: () => edit(used, generation),
        inForce: observer.seen(
          used,
          ({ headers }) => headers["x-generation"] === generation,
        ),
      };
    });
    for (const { calls } of [quiet, ofUnused, ofUsed])
      if (calls.failed > 0)
        say(
          `  files: ${calls.failed} calls failed: ${JSON.stringify(calls.reasons)}`,
        );
    return figuresOf("files", [
      ["ready", "ms", sidecar.readyAfter],
      ["ready: CPU", "ms", sidecar.cpuToReady],
      ["RSS", "MiB", sidecar.running.rss()],
      ...quietRows(quiet),
      ...changeRows("unused", ofUnused, quiet, UNUSED_EDITS),
      ...changeRows("route", ofUsed, quiet, EDITS),
    ]);
  } finally {
    await load.stop();
    await sidecar.stop();
  }
}

async function startFrom(bed: Bed, folder: string): Promise<Sidecar> {
  const { directory, clock } = bed.around;
  const { root, caller } = await makeCertificates(directory, clock);
  return startSidecar(
    {
      source: [
        ...["--resources", folder, "--trust-bundle", root],
        ...["--certificate", caller.certificate, "--private-key", caller.key],
      ],
      state: join(directory, "from-files"),
      more: [],
    },
    bed.around,
  );
}

async function writeFiles(folder: string, shape: Shape): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "mesh.yaml"), stringify(meshResource()));
  for (let service = 0; service < shape.services; service += 1)
    await writeService(folder, shape, service, {});
}

/** Put in place whole, as editors do. */
async function writeService(
  folder: string,
  shape: Shape,
  service: number,
  variant: Variant,
): Promise<void> {
  const documents = Array.from(bundleOf(shape, service, variant), (each) =>
    stringify(each),
  );
  const file = join(folder, `${nameOf(service)}.yaml`);
  await writeFile(`${file}.new`, documents.join("---\n"));
  await rename(`${file}.new`, file);
}
