/** Whatever way a resource file is saved, no request sees a config that was not written whole; an emptied file is not used at all. */
import {
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import t from "tap";
import { call, closeCalls, eventually } from "../../../support/peers/call.ts";
import {
  OPEN_RESOURCES,
  startLoneSidecar,
  type LoneSidecar,
} from "../../../support/processes/lone-sidecar.ts";

/** Longer than the time that a program that saves may leave between two writes of one save. */
const LONG = 500;

/** The resources, each version of other length: without the last of them, the port takes no caller. */
function version(number: number): string {
  const labelled = OPEN_RESOURCES.replace(
    "name: default",
    `name: default, labels: { version: v${number} }`,
  );
  return `${"# a comment\n".repeat(number)}${labelled.trimStart()}`;
}

/** Calls without a pause until it is told to stop; gives what was not 200. */
function load(sidecar: LoneSidecar): {
  calls: number;
  stop(): Promise<string[]>;
} {
  const failed: string[] = [];
  let over = false;
  const state = {
    calls: 0,
    async stop(): Promise<string[]> {
      over = true;
      await Promise.all(loops);
      return [...new Set(failed)];
    },
  };
  const loop = async (): Promise<void> => {
    while (!over) {
      const { status, headers } = await call(
        `http://127.0.0.1:${sidecar.published}/`,
        { headers: { host: "orders.shop" } },
      );
      state.calls += 1;
      const reason = headers["x-wherry-reason"];
      if (status !== 200) failed.push(`${status} ${String(reason)}`);
      await pause(1);
    }
  };
  const loops = Array.from({ length: 4 }, loop);
  return state;
}

async function inForce(sidecar: LoneSidecar): Promise<number> {
  const { text } = await call(`http://127.0.0.1:${sidecar.admin}/config`);
  const { version } = JSON.parse(text) as { version?: { revision: number } };
  return version?.revision ?? 0;
}

const SAVES: readonly (readonly [
  how: string,
  save: (file: string, text: string) => Promise<void>,
])[] = [
  ["in place", (file, text) => writeFile(file, text)],
  [
    "emptied, and written a moment later",
    async (file, text) => {
      await truncate(file);
      await pause(150);
      await writeFile(file, text);
    },
  ],
  [
    "emptied, and written a long moment later",
    async (file, text) => {
      await truncate(file);
      await pause(LONG);
      await writeFile(file, text);
    },
  ],
  [
    "in two halves, cut between two resources",
    (file, text) => inParts(file, text, [text.lastIndexOf("---")]),
  ],
  [
    "in two halves, cut within a resource",
    (file, text) => inParts(file, text, [text.indexOf("  selector")]),
  ],
  [
    "in parts, each with a pause",
    (file, text) => inParts(file, text, [10, 200, 300, 420]),
  ],
  [
    "by a rename",
    async (file, text) => {
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
    },
  ],
  [
    "removed, and written anew",
    async (file, text) => {
      await rm(file);
      await pause(LONG);
      await writeFile(file, text);
    },
  ],
];

async function inParts(
  file: string,
  text: string,
  cuts: readonly number[],
): Promise<void> {
  await using handle = await open(file, "w");
  let at = 0;
  for (const cut of [...cuts, text.length]) {
    await handle.write(text.slice(at, cut));
    at = cut;
    if (at < text.length) await pause(LONG / cuts.length);
  }
}

void t.test("however a file is saved", async (t) => {
  const sidecar = await startLoneSidecar((_, response) => response.end("ok"));
  t.teardown(async () => {
    closeCalls();
    await sidecar.stop();
  });
  const file = join(sidecar.directory, "mesh.yaml");
  let number = 0;
  for (const [how, save] of SAVES) {
    number += 1;
    const before = await inForce(sidecar);
    const under = load(sidecar);
    await save(file, version(number));
    await eventually(
      `${how}: it is in force`,
      10_000,
      () => inForce(sidecar),
      (revision) => revision > before,
    );
    t.same(await under.stop(), [], `${how}: ${under.calls} calls`);
    t.equal(await inForce(sidecar), before + 1, `${how}: nothing in between`);
  }
  const ready = async (): Promise<number> =>
    (await call(`http://127.0.0.1:${sidecar.metrics}/readyz?application`))
      .status;

  const text = await readFile(file, "utf8");
  const under = load(sidecar);
  const before = await inForce(sidecar);
  await truncate(file);
  await eventually(
    "an emptied file is told of",
    10_000,
    () => sidecar.metric("wherry_config_refused"),
    (refused) => refused === 1,
  );
  t.ok(
    sidecar.log.some((line) =>
      /mesh\.yaml holds no resources any more/.test(line),
    ),
    "in the log as well",
  );
  t.equal(await ready(), 200);
  await writeFile(file, text);
  await eventually(
    "the metric says that it is over",
    10_000,
    () => sidecar.metric("wherry_config_refused"),
    (refused) => refused === 0,
  );
  t.same(await under.stop(), [], `emptied: ${under.calls} calls`);
  t.equal(await inForce(sidecar), before + 1);
});

void t.test("a folder that is swapped whole, as Kubernetes does", async (t) => {
  const folder = t.testdir();
  const put = async (number: number): Promise<void> => {
    await mkdir(join(folder, `..v${number}`));
    for (const [index, part] of version(number).split("---\n").entries())
      await writeFile(join(folder, `..v${number}`, `${index}.yaml`), part);
    await symlink(`..v${number}`, join(folder, "..next"));
    await rename(join(folder, "..next"), join(folder, "..data"));
  };
  await put(0);
  for (const index of [0, 1, 2])
    await symlink(`..data/${index}.yaml`, join(folder, `${index}.yaml`));
  const sidecar = await startLoneSidecar(
    (_, response) => response.end("ok"),
    ["--resources", folder],
  );
  t.teardown(async () => {
    closeCalls();
    await sidecar.stop();
  });
  const under = load(sidecar);
  for (const number of [1, 2]) {
    const before = await inForce(sidecar);
    await put(number);
    await eventually(
      "it is in force",
      10_000,
      () => inForce(sidecar),
      (revision) => revision > before,
    );
  }
  t.same(await under.stop(), [], `${under.calls} calls`);

  // On purpose: the port takes no caller any more.
  const before = await inForce(sidecar);
  await rm(join(folder, "2.yaml"));
  await eventually(
    "a file that is removed is gone",
    10_000,
    () => inForce(sidecar),
    (revision) => revision > before,
  );
  const { status } = await call(`http://127.0.0.1:${sidecar.published}/`, {
    headers: { host: "orders.shop" },
  });
  t.equal(status, 403);
});
