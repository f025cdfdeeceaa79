// What a newcomer does: a fresh clone, an old Node on the path, one command; Ctrl-C; and nothing is left running.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { call, closeCalls } from "../support/peers/call.ts";
import { newEnvironment, ROOT } from "../support/processes/demo.ts";

/** With WHERRY_LONG=1 the clone installs its packages. Else it has those of this checkout, which were installed by the same code. */
const INSTALLS = process.env["WHERRY_LONG"] === "1";

/** The Node that the machine has by itself: the first on the path that is not the pinned one. */
function ownNode(): string | undefined {
  const folders = (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => !folder.includes("node_modules"));
  return folders
    .map((folder) => join(folder, "node"))
    .find((file) => existsSync(file));
}

/** All but what this checkout keeps there: the clone has run nothing yet. */
async function linkPackages(clone: string): Promise<void> {
  const modules = join(ROOT, "node_modules");
  await mkdir(join(clone, "node_modules"));
  for (const name of await readdir(modules))
    if (name !== ".cache")
      await symlink(join(modules, name), join(clone, "node_modules", name));
}

void t.test(
  "npm start alone, in a fresh clone, ends in the running demo; Ctrl-C ends every process",
  async (t) => {
    const node = ownNode();
    const folder = await mkdtemp(join(tmpdir(), "wherry-clone-"));
    t.teardown(async () => {
      closeCalls();
      await rm(folder, { recursive: true, force: true });
    });
    const clone = join(folder, "wherry");
    t.equal(
      spawnSync("git", ["clone", "--quiet", "--no-hardlinks", ROOT, clone])
        .status,
      0,
    );
    t.notOk(existsSync(join(clone, "node_modules")));
    if (!INSTALLS) await linkPackages(clone);
    t.comment(
      `the machine's own node is ${node === undefined ? "missing" : spawnSync(node, ["--version"]).stdout.toString().trim()}`,
    );

    const path = (process.env["PATH"] ?? "")
      .split(":")
      .filter((each) => !each.includes("node_modules"));
    // A group of its own, as a shell gives to what it runs in the foreground: Ctrl-C signals the whole group.
    const child = spawn("npm", ["start", "--", "--any-ports"], {
      cwd: clone,
      detached: true,
      env: newEnvironment({ PATH: path.join(":") }),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        printed += chunk.toString();
        if (printed.includes("Ctrl-C stops everything")) resolve();
      });
      child.once("exit", (code) =>
        reject(new Error(`npm start ended with ${String(code)}:\n${printed}`)),
      );
    });
    t.match(printed, "bundling the source");
    const url = /the shop\s+(http:\S+)/.exec(printed)?.[1] ?? "";
    const page = await call(`${url}/`);
    t.equal(page.status, 200);
    t.same(Object.keys(JSON.parse(page.text) as object).sort(), [
      "catalog",
      "orders",
      "payments",
      "web",
    ]);

    const { control } = JSON.parse(
      await readFile(join(clone, ".wherry", "dev.json"), "utf8"),
    ) as { control: string };
    const processes = JSON.parse((await call(`${control}/processes`)).text) as {
      name: string;
      pid: number;
    }[];
    t.equal(
      processes.length,
      19,
      "a control plane, nine applications, nine sidecars",
    );
    const { pid } = child;
    if (pid === undefined) throw new Error("npm has no pid");
    const ended = new Promise((resolve) => void child.once("exit", resolve));
    process.kill(-pid, "SIGINT");
    await ended;
    const alive = processes.filter((each) => existsSync(`/proc/${each.pid}`));
    t.same(alive, [], "none is orphaned");
    t.match(printed, "all stopped");
  },
);
