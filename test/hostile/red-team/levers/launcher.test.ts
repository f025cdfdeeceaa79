/** The launcher installs once, waits for the living and not for the dead, says what it waits for, and runs nothing of another user as root. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { newEnvironment, ROOT } from "../../../support/processes/demo.ts";
import { eventually } from "../../../support/peers/call.ts";

const root = process.geteuid?.() === 0;
const NOBODY = 65_534;

interface Packages {
  readonly [path: string]: {
    readonly version: string;
    readonly optional?: boolean;
  };
}

const LOCKED: Packages = {
  "node_modules/one": { version: "1.0.0" },
  "node_modules/two": { version: "2.0.0" },
  "node_modules/elsewhere": { version: "3.0.0", optional: true },
};
const { "node_modules/elsewhere": _, ...INSTALLED } = LOCKED;

interface Checkout {
  readonly folder: string;
  readonly turn: string;
  /** How often npm was run. */
  installs(): number;
  start(options?: {
    readonly environment?: Record<string, string>;
    readonly uid?: number;
  }): Started;
}

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** All that it has printed. */
  readonly said: string;
}

/** In place of npm: takes the packages away, is slow, and writes what it has installed. */
const NPM = `
const { appendFileSync, existsSync, rmSync, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
appendFileSync("installs", "one\\n");
rmSync("node_modules", { recursive: true, force: true });
const done = () => {
  mkdirSync("node_modules", { recursive: true });
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
  for (const [path, { optional }] of Object.entries(packages)) if (optional) delete packages[path];
  writeFileSync("node_modules/.package-lock.json", JSON.stringify({ packages }));
};
if (existsSync("npm-fails")) process.exit(7);
const look = setInterval(() => {
  if (existsSync("npm-waits")) return;
  clearInterval(look);
  done();
}, 10);
`;

/** `installed`: undefined where nothing is. */
function checkout(t: Test, installed: Packages | undefined): Checkout {
  const folder = mkdtempSync(join(tmpdir(), "wherry-launch-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "src"));
  for (const name of ["launch.js", "install-turn.js"])
    if (existsSync(join(ROOT, "src", name)))
      cpSync(join(ROOT, "src", name), join(folder, "src", name));
  const write = (name: string, content: unknown): void =>
    writeFileSync(
      join(folder, name),
      typeof content === "string" ? content : JSON.stringify(content),
    );
  write("package.json", { name: "x", type: "module" });
  write("npm.cjs", NPM);
  write(
    "src/start.js",
    'import { install } from "./launch.js";\nawait install();\nconsole.error("started");\n',
  );
  if (installed !== undefined) {
    mkdirSync(join(folder, "node_modules"));
    write("node_modules/.package-lock.json", { packages: installed });
    // The lock file is the newer one, as after a pull.
    const before = new Date(Date.now() - 60_000);
    utimesSync(join(folder, "node_modules/.package-lock.json"), before, before);
  }
  write("package-lock.json", { packages: LOCKED });
  return {
    folder,
    turn: join(folder, ".installing"),
    installs: () =>
      existsSync(join(folder, "installs"))
        ? readFileSync(join(folder, "installs"), "utf8").split("\n").length - 1
        : 0,
    start({ environment = {}, uid } = {}) {
      const child = spawn(process.execPath, [join(folder, "src/start.js")], {
        env: newEnvironment({
          npm_execpath: join(folder, "npm.cjs"),
          SUDO_UID: "",
          WHERRY_TRUST_CHECKOUT: "",
          ...environment,
        }),
        stdio: ["ignore", "pipe", "pipe"],
        ...(uid === undefined ? {} : { uid, gid: uid }),
      });
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      t.teardown(() => child.kill("SIGKILL"));
      return {
        child,
        ended: once(child, "close").then(() => child.exitCode),
        get said() {
          return said;
        },
      };
    },
  };
}

/** Fails where it takes longer: what it is for would wait for ever. */
async function ends(started: Started): Promise<number | null | "waits"> {
  return Promise.race([
    started.ended,
    new Promise<"waits">((resolve) => {
      setTimeout(() => resolve("waits"), 4000).unref();
    }),
  ]);
}

void t.test("what is installed is compared with what is locked", async (t) => {
  const rows: readonly (readonly [string, Packages | undefined, number])[] = [
    ["nothing is installed", undefined, 1],
    ["all is there, but what is optional", INSTALLED, 0],
    ["a package was added", { "node_modules/one": { version: "1.0.0" } }, 1],
    [
      "a package has another version",
      { ...INSTALLED, "node_modules/two": { version: "1.9.0" } },
      1,
    ],
    [
      "a package was taken away",
      { ...INSTALLED, "node_modules/three": { version: "1.0.0" } },
      1,
    ],
  ];
  for (const [what, installed, installs] of rows) {
    const tree = checkout(t, installed);
    const started = tree.start();
    t.equal(await ends(started), 0, `${what}: ${started.said}`);
    t.equal(tree.installs(), installs, what);
    t.notOk(existsSync(tree.turn), "the turn is given back");
  }
});

void t.test(
  "of several one installs, and the others say so and wait",
  async (t) => {
    const tree = checkout(t, undefined);
    writeFileSync(join(tree.folder, "npm-waits"), "");
    const all = Array.from({ length: 4 }, () => tree.start());
    await eventually(
      "three wait",
      4000,
      () =>
        Promise.resolve(all.filter(({ said }) => /waiting for it/.test(said))),
      (waiting) => waiting.length === 3,
    );
    rmSync(join(tree.folder, "npm-waits"));
    for (const started of all) t.equal(await ends(started), 0, started.said);
    t.equal(tree.installs(), 1);
  },
);

/** The turn as an installer would hold it that began hours ago. */
function heldSince(tree: Checkout, hours: number, owner: object): void {
  mkdirSync(tree.turn);
  const file = join(tree.turn, "owner.json");
  writeFileSync(file, JSON.stringify(owner));
  const long = new Date(Date.now() - hours * 3_600_000);
  for (const path of [file, tree.turn]) utimesSync(path, long, long);
}

void t.test(
  "a slow install is not taken over, however long it takes",
  async (t) => {
    const tree = checkout(t, undefined);
    writeFileSync(join(tree.folder, "npm-waits"), "");
    const slow = tree.start();
    await eventually(
      "npm runs",
      4000,
      () => Promise.resolve(tree.installs()),
      (installs) => installs === 1,
    );
    // Hours later, by the clock of whoever waits.
    const long = new Date(Date.now() - 3_600_000);
    for (const path of [tree.turn, join(tree.turn, "owner.json")])
      if (existsSync(path)) utimesSync(path, long, long);
    const late = new Date(Date.now() + 3_600_000);
    const waiting = tree.start({
      environment: {
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(`const now = Date.now; let first = now(); Date.now = () => now() + (now() > first + 300 ? ${late.getTime() - Date.now()} : 0);`)}`,
      },
    });
    await eventually(
      "it says what it waits for",
      4000,
      () => Promise.resolve(waiting.said),
      (said) =>
        new RegExp(`process ${slow.child.pid ?? 0}|process \\d+`).test(said),
    );
    await new Promise((resolve) => setTimeout(resolve, 1500));
    t.equal(tree.installs(), 1, "node_modules is not emptied under it");
    // The launcher dies, and its npm goes on.
    const gone = once(slow.child, "exit");
    slow.child.kill("SIGKILL");
    await gone;
    await new Promise((resolve) => setTimeout(resolve, 600));
    t.equal(tree.installs(), 1, "nor under npm without its launcher");
    rmSync(join(tree.folder, "npm-waits"));
    t.equal(await ends(waiting), 0, waiting.said);
    t.equal(tree.installs(), 1);
  },
);

void t.test("the turn of a dead installer is taken over by one", async (t) => {
  const dead = spawn(process.execPath, ["-e", ""]);
  await once(dead, "exit");
  for (const [what, owner] of [
    ["dead", { pid: dead.pid, place: undefined }],
    ["without a name", undefined],
  ] as const) {
    const tree = checkout(t, undefined);
    if (owner === undefined) {
      mkdirSync(tree.turn);
      const long = new Date(Date.now() - 3_600_000);
      utimesSync(tree.turn, long, long);
    } else heldSince(tree, 1, { ...owner, host: hostname() });
    const all = Array.from({ length: 4 }, () => tree.start());
    for (const started of all) t.equal(await ends(started), 0, started.said);
    t.equal(tree.installs(), 1, what);
  }
});

void t.test(
  "a failed install ends all of it, and gives the turn back",
  async (t) => {
    const tree = checkout(t, undefined);
    writeFileSync(join(tree.folder, "npm-fails"), "");
    const started = tree.start();
    t.equal(await ends(started), 1);
    t.match(started.said, /"npm ci" in .* failed/);
    t.notOk(existsSync(tree.turn));
  },
);

void t.test(
  "a checkout that may not be written to is said to be so, at once",
  { skip: !root && "needs root, to be somebody else" },
  async (t) => {
    const tree = checkout(t, { "node_modules/one": { version: "1.0.0" } });
    const started = tree.start({ uid: NOBODY });
    t.equal(await ends(started), 1);
    t.match(
      started.said,
      /cannot be written to \(EACCES\): run "npm ci" there as root, or use a checkout of your own/,
    );
    const whole = checkout(t, INSTALLED);
    t.equal(await ends(whole.start({ uid: NOBODY })), 0, "nothing to write");
  },
);

void t.test(
  "root runs nothing in the checkout of another user",
  { skip: !root && "needs root" },
  async (t) => {
    for (const installed of [undefined, INSTALLED])
      for (const owned of ["", "package.json", "package-lock.json"]) {
        const tree = checkout(t, installed);
        chownSync(join(tree.folder, owned), NOBODY, NOBODY);
        const refused = tree.start();
        t.equal(await ends(refused), 1, `${owned} is another's`);
        t.match(
          refused.said,
          /belongs to another user \(uid 65534\), and this is root: .*WHERRY_TRUST_CHECKOUT=1/,
        );
        t.equal(tree.installs(), 0);
        for (const environment of [
          { WHERRY_TRUST_CHECKOUT: "1" },
          { SUDO_UID: String(NOBODY) },
        ])
          t.equal(
            await ends(tree.start({ environment })),
            0,
            JSON.stringify(environment),
          );
      }
  },
);
