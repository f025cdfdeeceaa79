/** Each file operation of a sidecar's agent fails once, from its first start over a renewal to its next start: it starts, serves and renews all the same, and the disk has the newest in the end. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Agent } from "../../src/agent/agent.ts";
import { CONFIG_FILE } from "../../src/agent/kept-config.ts";
import { CREDENTIALS_FILE } from "../../src/agent/enrolment/kept-credentials.ts";
import { startAgent } from "../../src/agent/mesh-agent.ts";
import { silentLogger, type Logger } from "../../src/core/log.ts";
import { failingParts } from "../../src/core/machine/machine-errors.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import {
  watchFiles,
  type Faults,
  type FaultyDirectory,
} from "../support/faults/fs-faults.ts";
import {
  MESH,
  service,
  startTestControlPlane,
  temporaryDirectory,
  type TestControlPlane,
} from "../support/control-plane/push-control-plane.ts";

const HOUR = 3_600_000;

/** What fails: an operation that writes, and one that reads, which knows no full disk. */
const FAULTS: readonly Faults[] = [
  { write: "ENOSPC", read: "EIO" },
  { write: "EIO", read: "EMFILE" },
  { write: "EMFILE", read: "ENFILE" },
  { write: "EROFS", read: "EIO" },
];

interface Bed {
  readonly clock: FakeClock;
  readonly plane: TestControlPlane;
}

async function makeBed(t: Test): Promise<Bed> {
  // OpenSSL judges by the system's time: what is issued from here on is valid now.
  const clock = fakeClock({ wall: Date.now() - 13 * HOUR });
  const plane = await startTestControlPlane(t, { clock });
  await plane.store.put(MESH, "absent");
  await plane.store.put(service("orders"), "absent");
  return { clock, plane };
}

/** Time goes on, four times as fast as it does, until the work is done. */
async function settled<T>(
  { clock }: Pick<Bed, "clock">,
  work: Promise<T>,
): Promise<T> {
  const timer = setInterval(() => clock.advance(20), 5);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

async function comes(
  what: string,
  condition: () => Promise<boolean> | boolean,
): Promise<void> {
  for (let turn = 0; !(await condition()); turn += 1) {
    if (turn === 1000) throw new Error(`it never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

class Row {
  readonly name: string;
  readonly #bed: Bed;
  readonly #state: string;
  readonly files: FaultyDirectory;
  logger: Logger = silentLogger;
  #agent: Agent | undefined;

  constructor(t: Test, bed: Bed, name: string, state: string) {
    // Where a row fails, nothing of it keeps the test from ending.
    t.teardown(() => this.#agent?.close());
    this.#bed = bed;
    this.name = name;
    this.#state = state;
    this.files = watchFiles(state);
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error(`${this.name}: no agent`);
    return this.#agent;
  }

  async start(token: string | undefined): Promise<void> {
    const { clock, plane } = this.#bed;
    this.#agent = await startAgent({
      controlPlane: plane.address,
      stateDirectory: this.#state,
      name: this.name,
      version: "1.2.3",
      clock,
      logger: this.logger,
      interest: { services: ["shop/orders"], hosts: [] },
      ...(token === undefined ? {} : { token }),
    });
  }

  /** It has what it needs, and the disk has it, too. */
  async whole(): Promise<boolean> {
    const { credentials, snapshot } = this.agent;
    if (snapshot.value?.version === undefined) return false;
    const key = credentials.value?.privateKey;
    const file = join(this.#state, CREDENTIALS_FILE);
    const text = await readFile(file, "utf8").catch(() => "");
    if (!existsSync(join(this.#state, CONFIG_FILE))) return false;
    return key !== undefined && text.includes(JSON.stringify(key));
  }

  close(): Promise<void> {
    return this.agent.close();
  }
}

/** From the first start, without a state, to a start without a control plane. */
async function live(t: Test, bed: Bed, rows: readonly Row[]): Promise<void> {
  const { clock, plane } = bed;
  const each = (run: (row: Row) => Promise<void>): Promise<unknown> =>
    Promise.all(rows.map(run));
  const token = await plane.token({ uses: 1000 });
  await each(async (row) => {
    await row.start(token);
    await comes(`${row.name} has all`, () => row.whole());
  });
  const keys = rows.map(({ agent }) => agent.credentials.value?.privateKey);
  clock.advance(12.2 * HOUR);
  await each((row) =>
    comes(
      `${row.name} renews`,
      async () =>
        row.agent.credentials.value?.privateKey !== keys[rows.indexOf(row)] &&
        (await row.whole()),
    ),
  );
  await each((row) => row.close());
  await plane.close();
  await each(async (row) => {
    await row.start(undefined);
    t.equal(row.agent.state.value.source, "disk", row.name);
    t.ok(row.agent.snapshot.value, `${row.name} has its config`);
    t.ok(row.agent.credentials.value, `${row.name} has its certificate`);
    await row.close();
  });
}

void t.test("whatever fails once", async (t) => {
  const plain = await makeBed(t);
  const root = await temporaryDirectory(t);
  const model = new Row(t, plain, "model", join(root, "model", "state"));
  await settled(plain, live(t, plain, [model]));
  const operations = model.files.operations.length;
  t.ok(operations > 40, `${operations} operations`);

  const bed = await makeBed(t);
  const rows = Array.from({ length: operations }, (_, index) => {
    const row = new Row(
      t,
      bed,
      `row-${index + 1}`,
      join(root, `${index + 1}`, "state"),
    );
    const fault = FAULTS[index % FAULTS.length];
    if (fault !== undefined) row.files.failAt(index + 1, fault);
    return row;
  });
  await settled(bed, live(t, bed, rows));
  t.ok(rows.filter(({ files }) => files.failed > 0).length > operations * 0.9);
});

void t.test("a disk that takes nothing for a while", async (t) => {
  const bed = await makeBed(t);
  const { plane, clock } = bed;
  const state = join(await temporaryDirectory(t), "state");
  const row = new Row(t, bed, "web-1", state);
  const told: string[] = [];
  const note = (...args: unknown[]): void =>
    void told.push(String(args.at(-1)));
  row.logger = Object.assign(Object.create(silentLogger) as Logger, {
    error: note,
    info: note,
  });
  await settled(bed, row.start(await plane.token()));
  await settled(
    bed,
    comes("it has all", () => row.whole()),
  );
  const revisionOnDisk = async (): Promise<number> => {
    const text = await readFile(join(state, CONFIG_FILE), "latin1");
    return Number(/.*"revision":(\d+)/s.exec(text)?.[1]);
  };
  const inForce = (): number => row.agent.snapshot.value?.version.revision ?? 0;
  const before = await revisionOnDisk();
  told.length = 0;

  row.files.failAll({ write: "ENOSPC" });
  for (const port of [81, 82, 83]) {
    const spec = { ports: [{ name: "http", port, appProtocol: "http" }] };
    await plane.store.put(service("orders", spec), undefined);
    const newest = await plane.store.revision();
    await settled(
      bed,
      comes("the config is in force all the same", () => inForce() >= newest),
    );
  }
  const cannot = /the config cannot be kept in .*ENOSPC/;
  const lastError = (): string => row.agent.state.value.lastError ?? "";
  await settled(
    bed,
    comes("it is told", () => cannot.test(lastError())),
  );
  t.equal(told.filter((text) => text.includes("cannot be kept")).length, 1);
  t.equal(await revisionOnDisk(), before);
  t.equal(new Map(failingParts()).get("config"), 1);
  const attempts = row.files.failed;
  clock.advance(1999);
  t.ok(row.files.failed <= attempts + 1, "it is not tried all the time");

  row.files.failAll(undefined);
  const freed = clock.now();
  await settled(
    bed,
    comes(
      "the disk has it",
      async () => (await revisionOnDisk()) === inForce() && lastError() === "",
    ),
  );
  t.ok(clock.now() - freed <= 5000, `${clock.now() - freed} ms`);
  t.equal(lastError(), "");
  t.equal(told.filter((text) => text.includes("is kept in")).length, 1);
  await settled(bed, row.close());
});
