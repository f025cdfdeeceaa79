/** However files are saved, and whenever a save pauses, no config comes into force that was not written whole. `TAP_TIMEOUT=600 WHERRY_SAVES=1000` saves so often in each way. */
import {
  appendFile,
  mkdir,
  open,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Config } from "../../../src/agent/config.ts";
import { FileConfig } from "../../../src/agent/files/file-config.ts";
import { readResources } from "../../../src/agent/files/read-resources.ts";
import { listResources } from "../../../src/agent/files/look.ts";
import {
  directoriesOf,
  watchFiles,
} from "../../../src/agent/files/watch-files.ts";
import type { KeptConfig } from "../../../src/agent/kept-config.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { watchSource } from "../../../src/core/watch.ts";
import { fakeClock, seededRandom } from "../../support/clocks/fake-clock.ts";
import {
  temporaryDirectory,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";

const SAVES = Number(process.env["WHERRY_SAVES"] ?? 12);
/** Milliseconds within which a program that writes in place has to go on. */
const PATIENCE = 1000;
/** Questions to the disk for each step of the clock: the disk is real, and time must not run away from it. */
const QUESTIONS = 3;

/** So many Services that neighbours differ, but none has less than half of another. */
const countOf = (version: number): number => 5 + (version % 4);

/** Each version of another length; all of its Services say which it is. */
function documents(version: number): string[] {
  return Array.from(
    { length: countOf(version) },
    (_, index) => `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: s${index}, namespace: shop, labels: {version: v${version}}}
spec:
  ports: [{port: 80}]
  selector: {app: s${index}, note: n${"x".repeat((version * 7) % 40)}}
`,
  );
}

const textOf = (version: number): string => documents(version).join("---\n");

interface Bench {
  readonly directory: string;
  readonly file: string;
  readonly random: () => number;
  /** Time goes by, and what is due is done. */
  readonly pass: (ms: number) => Promise<void>;
  /** Fewer milliseconds than a program may pause that writes in place. */
  readonly pause: () => Promise<void>;
}

/** Writes parts of a text, and pauses after each but the last. */
async function inParts(
  { file, pause }: Bench,
  text: string,
  cuts: readonly number[],
  flags = "w",
): Promise<void> {
  await using handle = await open(file, flags);
  const ends = [...cuts].sort((a, b) => a - b);
  let at = 0;
  for (const end of [...ends, text.length]) {
    await handle.write(text.slice(at, end), at);
    at = end;
    if (at < text.length) await pause();
  }
  await handle.truncate(text.length);
}

const cut = (bench: Bench, text: string): number =>
  Math.floor(bench.random() * text.length);

/** A way to save; where `path` says so, the resources are not in the one file. */
interface Way {
  readonly save: (bench: Bench, version: number) => Promise<void>;
  readonly begin?: (bench: Bench) => Promise<string>;
}

const WAYS: Readonly<Record<string, Way>> = {
  "in place": {
    save: ({ file }, version) => writeFile(file, textOf(version)),
  },
  "emptied, and written later": {
    async save({ file, random, pass }, version) {
      await truncate(file);
      await pass(random() * 5000);
      await writeFile(file, textOf(version));
    },
  },
  "cut between two resources": {
    save(bench, version) {
      const text = textOf(version);
      const borders = [...text.matchAll(/^---\n/gm)].map(({ index }) => index);
      const border = borders[Math.floor(bench.random() * borders.length)] ?? 0;
      return inParts(bench, text, [border]);
    },
  },
  "cut at the end of a line": {
    save(bench, version) {
      const text = textOf(version);
      return inParts(bench, text, [text.indexOf("\n", cut(bench, text)) + 1]);
    },
  },
  "in many parts": {
    save(bench, version) {
      const text = textOf(version);
      const cuts = Array.from({ length: 4 }, () => cut(bench, text));
      return inParts(bench, text, cuts);
    },
  },
  "written over, not emptied": {
    save(bench, version) {
      const text = textOf(version);
      return inParts(bench, text, [cut(bench, text), cut(bench, text)], "r+");
    },
  },
  "resource by resource": {
    async save({ file, pause }, version) {
      await truncate(file);
      for (const [index, document] of documents(version).entries()) {
        if (index > 0) await pause();
        await appendFile(file, index === 0 ? document : `---\n${document}`);
      }
    },
  },
  "with the old time of writing": {
    async save(bench, version) {
      const { mtime, atime } = await stat(bench.file);
      const text = textOf(version);
      await using handle = await open(bench.file, "r+");
      const middle = cut(bench, text);
      await handle.write(text.slice(0, middle), 0);
      await handle.utimes(atime, mtime);
      await bench.pause();
      await handle.write(text.slice(middle), middle);
      await handle.truncate(text.length);
      await handle.utimes(atime, mtime);
    },
  },
  "by a rename": {
    async save({ file, pass, random }, version) {
      await writeFile(`${file}.new`, textOf(version));
      await pass(random() * 3000);
      await rename(`${file}.new`, file);
    },
  },
  "removed, and written anew": {
    async save(bench, version) {
      await rm(bench.file);
      await bench.pass(bench.random() * 5000);
      const text = textOf(version);
      await inParts(bench, text, [cut(bench, text)]);
    },
  },
  "a folder that is swapped, as a ConfigMap is": {
    begin: (bench) => swapFolder(bench, 0),
    save: async (bench, version) => {
      await swapFolder(bench, version);
    },
  },
  "a link that is turned to another file": {
    begin: (bench) => turnLink(bench, 0),
    save: async (bench, version) => {
      await turnLink(bench, version);
    },
  },
};

/** All resources of a version in files of their own, behind links through one that is turned. */
async function swapFolder(
  { directory, pass, random }: Bench,
  version: number,
): Promise<string> {
  const folder = join(directory, "mounted");
  const content = join(folder, `..v${version}`);
  await mkdir(content, { recursive: true });
  const names = documents(version).map((_, index) => `${index}.yaml`);
  for (const [index, document] of documents(version).entries()) {
    await writeFile(join(content, `${index}.yaml`), document);
    await pass(random() * 300);
  }
  await symlink(`..v${version}`, join(folder, "..next"));
  await rename(join(folder, "..next"), join(folder, "..data"));
  // The links of keys that are new or gone follow at once, one by one.
  for (const name of names)
    await symlink(`..data/${name}`, join(folder, name)).catch(() => undefined);
  for (let index = names.length; index < countOf(3); index += 1)
    await rm(join(folder, `${index}.yaml`), { force: true });
  return folder;
}

async function turnLink(
  { directory }: Bench,
  version: number,
): Promise<string> {
  const link = join(directory, "link.yaml");
  await writeFile(join(directory, `v${version}.text`), textOf(version));
  await symlink(`v${version}.text`, join(directory, "next"));
  await rename(join(directory, "next"), link);
  return link;
}

/** Until the file system stamps another time: two writes within one tick cannot be told apart, and no program pauses for so short. */
async function nextTick(probe: string): Promise<void> {
  const stamp = async (): Promise<bigint> => {
    await writeFile(probe, "");
    return (await stat(probe, { bigint: true })).ctimeNs;
  };
  const now = await stamp();
  while ((await stamp()) === now);
}

/** What came into force, and whether each was written so. */
function recorder(): Config & {
  readonly latest: () => number;
  readonly torn: string[];
  readonly taken: () => number;
} {
  const torn: string[] = [];
  let current: KeptConfig | undefined;
  let latest = -1;
  let taken = 0;
  return {
    torn,
    latest: () => latest,
    taken: () => taken,
    snapshot: watchSource(undefined),
    get current() {
      return current;
    },
    take(config) {
      const versions = new Set(
        [...config.resources.values()].map(
          ({ resource }) => resource.metadata.labels?.["version"] ?? "none",
        ),
      );
      latest = Number([...versions][0]?.slice(1));
      taken += 1;
      if (versions.size !== 1 || config.resources.size !== countOf(latest))
        torn.push(`${[...versions].join(" ")}: ${config.resources.size}`);
      current = config;
      return Promise.resolve(undefined);
    },
    push: () => Promise.resolve("there is no control plane"),
  };
}

async function follow(
  t: Scope,
  way: Way,
): Promise<{
  readonly bench: Bench;
  readonly config: ReturnType<typeof recorder>;
}> {
  const directory = await temporaryDirectory(t);
  const clock = fakeClock({ wall: Date.now() });
  const random = seededRandom(7);
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 50) {
      clock.advance(Math.min(left, 50));
      for (let asked = 0; asked < QUESTIONS; asked += 1) await stat(directory);
    }
  };
  const file = join(directory, "mesh.yaml");
  const pause = async (): Promise<void> => {
    await pass(random() * (PATIENCE - 60));
    await nextTick(join(directory, "tick"));
  };
  const bench = { directory, file, random, pass, pause };
  await writeFile(file, textOf(0));
  const path = (await way.begin?.(bench)) ?? file;
  await utimes(file, 0, 0);
  const config = recorder();
  const files = new FileConfig({
    path,
    allowShrink: false,
    maxConfigBytes: 1 << 20,
    config,
    self: () => ({
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      labels: {},
      identity: "spiffe://cluster.local/ns/shop/sa/web",
    }),
    onChange: () => undefined,
    clock,
    logger: silentLogger,
    // This clock is quicker than a thread.
    read: readResources,
  });
  const watcher = await watchFiles({
    list: () => listResources(path),
    directories: [path, ...directoriesOf([path])],
    clock,
    onChange: (signature) => files.reload(signature),
  });
  t.after(async () => {
    files.close();
    await watcher.close();
  });
  const first = files.loadFirst();
  while (config.taken() === 0) await pass(50);
  await first;
  return { bench, config };
}

for (const [what, way] of Object.entries(WAYS))
  void t.test(`${what}, ${SAVES} times`, async (t) => {
    const { bench, config } = await follow(t, way);
    t.equal(config.latest(), 0);
    let seen = 0;
    for (let version = 1; version <= SAVES; version += 1) {
      await way.save(bench, version);
      // Now and then the next save begins while this one is looked at.
      if (version < SAVES && bench.random() < 0.3) {
        await bench.pass(bench.random() * 2500);
        continue;
      }
      for (let turn = 0; config.latest() !== version; turn += 1) {
        if (turn === 3000) throw new Error(`version ${version} never came`);
        await bench.pass(100);
      }
      seen += 1;
    }
    t.same(config.torn, [], `${config.taken()} came into force`);
    t.ok(seen >= SAVES / 2, `${seen} were waited for`);
    t.equal(config.latest(), SAVES);
  });
