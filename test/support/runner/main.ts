/**
 * `npm test`: types, lint, format, unused code, unit tests with coverage, and the tests of whole processes; with names of files or folders
 * behind it, only those tests. `npm run lint`: the checks alone. `npm run test:fast`: the unit tests near what changed.
 * Each ends in a plain line "N passed, N failed".
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { makeBundles } from "./bundles.ts";
import { changedSince, testsReaching } from "./changed.ts";
import { CACHES, runChecks } from "./checks.ts";
import { checkCoverage, Coverage, hasFloor } from "./coverage.ts";
import { Durations } from "./durations.ts";
import { runFiles, type FileResult } from "./processes.ts";
import { Progress } from "./progress.ts";
import { holdPorts } from "./held-ports.ts";
import { makeScratch } from "./scratch.ts";
import { format, NOTHING, seedIn, sum, type Counts } from "./tap-text.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const env = {
  ...process.env,
  PATH: [
    join(root, "node_modules", ".bin"),
    dirname(process.execPath),
    process.env["PATH"],
  ].join(delimiter),
};
/** What test files get besides: Node keeps what it has compiled, and what is left of a file without its types. */
const testEnv: NodeJS.ProcessEnv = {
  ...env,
  NODE_COMPILE_CACHE: join(root, CACHES, "compiled"),
};
/** Where the bundle is built that tests of whole processes start: beside the packages that it needs. */
const BUILT = join(root, CACHES, "built");
/**
 * For processes that live for seconds: the optimising compiler does not run beside them for code that is over by then, and a nursery
 * that is large from the start is collected less often.
 */
const SHORT_LIVED = [
  "--no-concurrent-recompilation",
  "--min-semi-space-size=16",
];
/** Made beside the checks, which need none of it. */
const nodeArgs =
  process.argv[2] === "--lint"
    ? Promise.resolve(SHORT_LIVED)
    : makeBundles().then((bundles) => [...SHORT_LIVED, ...bundles]);
const scratch = makeScratch();
process.on("exit", () => scratch.remove());
/** Tests that start programs from their files, or images: these are many, and memory may not be executed. */
const ON_DISK = /\/(?:compose|launcher|first-start)\.test\.ts$/;
const DURATIONS = join(root, CACHES, "durations.json");
/** A skipped test is a failure, and no result of before is used again. */
const strict = process.env["WHERRY_REQUIRE"] === "all";

/** Seconds that a unit test file may take, and one of whole processes. */
const TIMEOUT = 120;
const LONG_TIMEOUT = 600;
/** Milliseconds from the start of this process at which `test:fast` is done, but for the tests that import a changed file themselves. */
const FAST = 3500;

/** Tests of whole processes that compare times: beside others they would measure those. */
const ALONE =
  /red-team\/cost\/(?!nothing-taken|zero-window)|\/(?:floods|silent-instances|stalled-application|all-attacks)\.test\.ts$/;

/**
 * Unit tests that do one thing many thousand times. Counting each of their blocks costs more than the test itself, and others reach
 * what they reach.
 */
const REPEATS =
  /\/(?:incremental|retry-storm|stall-simulation|simulate|machine-faults|long-request|kept-whole|closure|linear|linear-documents|reasons|random-orders|sizes|explain-agrees|oracle|router-oracle|callers|map|fuzz|octets|untimely|balancing|view-counts|catalogue|rate-table|grpc-rules|concerned|workers\/(?:shares|sharing|rate-limits|breakers))\.test\.ts$/;

/** What a unit test has in its text that changes or measures its process, counts its turns or starts threads: such files have a process each. */
const OF_PROCESS =
  /\bprocess\.(?!execPath|platform|version)|\bglobalThis\b|\bnextTick\b|machine-counts|meshes\/workers|\bmallopt\b/;

/** Tests of whole processes that wait for most of their time, for a fault to last or a time-out to come: they have a place of their own. */
const WAITS =
  /(?:stability|outage|cut-off|slow|silent-instances|stalled-application|nothing-taken)\.test\.ts$/;

/** Tests of whole processes that take no longer than to load what they need: together they load it once. */
const SHORT =
  /red-team\/(?:config\/[ew]|identity|judged|levers|lockouts)|\/grammar-http(?!1-fuzz)/;

/** Unit tests that do: for a time of the mesh's to pass on a connection, for a disk to be looked at, for processes to begin and end. */
const UNIT_WAITS =
  /(?:proxy\/revocation|file-agent|enrolment\/clocks|control-plane\/tracing|runner\/(?:together|processes))\.test\.ts$/;

/** Files of whole processes that may fail in one stage and run again. More of them speak of the change, not of a busy machine. */
const MOST_AGAIN = 3;
const passedAlone: string[] = [];

/** Tests that take longest, the longest first: begun last, one of them would be waited for alone. */
const LONGEST: readonly string[] = [
  "stability",
  "outage",
  "slow",
  "compose",
  "mad-control-plane",
  "stalled-application",
  "killed-control-plane",
  "policy",
  "clocks",
  "floods",
  "capture",
  "nothing-taken",
  "fuzz-requests",
  "schemathesis",
  "rotation",
  "machine-faults",
  "fuzz-responses",
  "fuzz-mutants",
  "take-over",
  "autobahn",
  "first-start",
  "all-attacks",
  "never-twice",
  "defects",
  "crowd",
  "lost-instance",
  "version-skew",
  "jaeger",
  "intercept",
  "two-versions",
  "killed-start",
  "revoke",
  "zipkin",
  "bundle",
  "grammar-http1-fuzz",
];

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function testsIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name))
    .sort();
}

function longestFirst(files: readonly string[]): string[] {
  const rank = (file: string): number => {
    const at = LONGEST.indexOf(basename(file, ".test.ts"));
    return at === -1 ? LONGEST.length : at;
  };
  return files.toSorted((left, right) => rank(left) - rank(right));
}

function mayShare(file: string): boolean {
  return (
    !REPEATS.test(file) &&
    !ON_DISK.test(file) &&
    !OF_PROCESS.test(readFileSync(join(root, file), "utf8"))
  );
}

interface Plan {
  /** Processes at once. */
  readonly jobs: number;
  /** Seconds a file. */
  readonly timeout: number;
  /** A file that fails here beside others runs once more, alone, and that is said at the end. */
  readonly again?: boolean;
  readonly waits?: (file: string) => boolean;
  readonly mayShare?: (file: string) => boolean;
  readonly coverage?: Coverage;
  readonly endOf?: (file: string) => AbortSignal | undefined;
}

/** The first port that tests find free, and how many each of those that run at once has for itself. */
const [FIRST_PORT, PORTS] = [20_000, 2000];

function envOf(file: string, lane: number): NodeJS.ProcessEnv {
  const from = FIRST_PORT + lane * PORTS;
  return {
    ...testEnv,
    ...(ON_DISK.test(file) ? {} : scratch.environment),
    WHERRY_FREE_PORTS: `${from}-${from + PORTS - 1}`,
  };
}

async function runPlain(
  files: readonly string[],
  { coverage, again = false, ...plan }: Plan,
): Promise<Counts> {
  const progress = new Progress(files.length, print);
  const durations = new Durations(DURATIONS);
  const results: FileResult[] = [];
  await runFiles(files, {
    root,
    nodeArgs: await nodeArgs,
    envOf: (file, lane) => ({
      ...envOf(file, lane),
      ...(REPEATS.test(file) || !hasFloor(root, file)
        ? {}
        : coverage?.environment),
    }),
    ...plan,
    onResult: (result) => {
      results.push(result);
      progress.ended(result);
      if (result.cut) durations.tookMoreThan(result.file, result.time);
      else durations.took(result.file, result.time);
      coverage?.take();
    },
    onApart: (files, unwell, how) => {
      print(
        `${files.length} files of one process run again, each alone: not well were ${unwell.join(", ") || "what they left behind"}\n${how.trimEnd()}`,
      );
    },
  });
  progress.close();
  durations.save();
  for (const { file, detail } of results)
    if (detail !== "") print(`${file}\n${detail.trimEnd()}`);
  const failed = results.filter(({ counts }) => counts.failed > 0);
  const alone =
    again && failed.length <= MOST_AGAIN ? await runAlone(failed, plan) : [];
  const counts = results
    .map((result) => alone.find(({ file }) => file === result.file) ?? result)
    .reduce((total, result) => sum(total, result.counts), NOTHING);
  print(`  ${format(counts)}`);
  return counts;
}

/**
 * Each file once more with nothing beside it: its result counts. What passes now is named in the last lines of the run. A fuzzer has to
 * pass with the seed that it failed with: others prove nothing.
 */
async function runAlone(
  failed: readonly FileResult[],
  { timeout }: Plan,
): Promise<readonly FileResult[]> {
  const results: FileResult[] = [];
  for (const { file, detail } of failed) {
    print(`once more, alone: ${file} …`);
    const seed = seedIn(detail);
    const options = {
      ...{ root, nodeArgs: await nodeArgs, jobs: 1, timeout },
      envOf: (each: string, lane: number) => ({
        ...envOf(each, lane),
        ...(seed === undefined ? {} : { WHERRY_FUZZ_SEED: seed }),
      }),
    };
    const onResult = (result: FileResult): void => {
      results.push(result);
      print(`${result.detail}${file} ${format(result.counts)}`);
      if (result.counts.failed === 0) passedAlone.push(file);
    };
    await runFiles([file], { ...options, onResult });
  }
  return results;
}

/** What whole processes run. Beside the unit tests, as much of it waits for one core. */
async function buildBundle(): Promise<void> {
  rmSync(BUILT, { recursive: true, force: true });
  await promisify(execFile)(process.execPath, [
    join(root, "src/tools/build.js"),
    BUILT,
  ]);
}

async function runAll(): Promise<Counts> {
  // Neither of their rows has enough for both cores to the end.
  const checks = runChecks({ root, env }, strict);
  // Those whose lines are counted together: a process counts for all of its files, or for none.
  const unitTests = testsIn("test")
    .filter((file) => !/^test\/(?:e2e|hostile|ordinary)\//.test(file))
    .sort(
      (left, right) =>
        Number(hasFloor(root, right)) - Number(hasFloor(root, left)),
    );
  const built = buildBundle();
  // It is told of where it is waited for.
  built.catch(() => undefined);
  print("unit tests …");
  const coverage = new Coverage(root, join(root, CACHES, "coverage"));
  // One more than cores: some wait for a while.
  const jobs = availableParallelism() + 1;
  const unit = await runPlain(unitTests, {
    ...{ jobs, mayShare, coverage },
    waits: (file) => UNIT_WAITS.test(file),
    timeout: TIMEOUT,
  });
  let counts = [await checks, unit, checkCoverage(coverage)].reduce(sum);
  const processes = ["test/hostile", "test/e2e", "test/ordinary"].flatMap(
    testsIn,
  );
  const [alone, together] = [true, false].map((wanted) =>
    processes.filter((file) => ALONE.test(file) === wanted),
  );
  const waits = (file: string): boolean => WAITS.test(file);
  await built;
  testEnv["WHERRY_BUILT"] = BUILT;
  print("whole processes …");
  counts = sum(
    counts,
    await runPlain(longestFirst(together ?? []), {
      jobs: 4,
      waits,
      mayShare: (file) => SHORT.test(file) && mayShare(file),
      again: true,
      timeout: LONG_TIMEOUT,
    }),
  );
  print("whole processes that are measured …");
  const last = await runPlain(longestFirst(alone ?? []), {
    // Both cores have one, beside what waits: what fails so runs again by itself.
    jobs: 2,
    waits,
    again: true,
    timeout: LONG_TIMEOUT,
  });
  return sum(counts, last);
}

function runNamed(names: readonly string[]): Promise<Counts> {
  const files = names.flatMap((name) =>
    statSync(join(root, name)).isDirectory() ? testsIn(name) : [name],
  );
  return runPlain(files, {
    jobs: availableParallelism(),
    timeout: LONG_TIMEOUT,
  });
}

/**
 * The tests that import a changed file themselves always run. After that come the nearest, as long as they can be done in time: a file
 * that took longer when it last ran does not begin, and one that never ran here is ended when the time is over.
 */
async function runFast(args: readonly string[]): Promise<Counts> {
  const all = args.includes("--all");
  const base = args.find((arg) => !arg.startsWith("--")) ?? "main";
  const changed = changedSince(root, base);
  const reached = testsReaching(root, changed);
  print(
    `${changed.length} files differ from ${base}; ${reached.length} unit test files reach them, nearest first.`,
  );
  const near = new Set(
    reached.flatMap(({ test, distance }) => (distance <= 1 ? [test] : [])),
  );
  const durations = new Durations(DURATIONS);
  let notBegun = 0;
  const counts = await runPlain(
    reached.map(({ test }) => test),
    {
      jobs: availableParallelism(),
      timeout: TIMEOUT,
      endOf: (file) => {
        if (all || near.has(file)) return undefined;
        const left = Math.round(FAST - performance.now());
        if ((durations.of(file) ?? 0) < left) return AbortSignal.timeout(left);
        notBegun += 1;
        return AbortSignal.abort();
      },
    },
  );
  if (notBegun > 0)
    print(
      `${notBegun} files that are further away did not begin, as they would not be done within ${FAST / 1000} s: "npm run test:fast -- --all" runs them.`,
    );
  return counts;
}

async function chosen([first, ...others]: readonly string[]): Promise<Counts> {
  if (first === "--lint") return await runChecks({ root, env }, strict);
  await holdPorts();
  if (first === "--fast") return await runFast(others);
  if (first !== undefined) return await runNamed([first, ...others]);
  return await runAll();
}

const counts = await chosen(process.argv.slice(2));
const refused = strict ? counts.skipped : 0;
if (refused > 0) print("WHERRY_REQUIRE=all: a skipped test is a failure");
for (const file of passedAlone)
  print(`failed beside others, passed alone: ${file}`);
const skipped = counts.skipped > refused ? `, ${counts.skipped} skipped` : "";
print(`\n${counts.passed} passed, ${counts.failed + refused} failed${skipped}`);
process.exitCode = counts.failed + refused > 0 ? 1 : 0;
