/** Addresses that stand for names are kept on the disk: what an application holds leads to the same name after a restart, and where two processes give addresses at once. */
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import {
  MOST_VIRTUAL,
  VirtualAddresses,
} from "../../../src/proxy/dns/virtual-addresses.ts";
import {
  KeptNames,
  WAIT_FOR_DISK,
} from "../../../src/sidecar/naming/kept-names.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import { whileReadOnly } from "../../support/faults/read-only.ts";
import { withPair } from "../../support/meshes/pair.ts";
import { askByDatagram } from "../../support/dns/ask.ts";
import { question, summary } from "../../support/dns/questions.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

interface Process {
  readonly names: VirtualAddresses;
  readonly kept: KeptNames;
  readonly warnings: unknown[];
  /** As the resolver does. */
  readonly resolve: (host: string) => Promise<string>;
}

function fileOf(t: Test): string {
  return join(t.testdir({}), "virtual-addresses.jsonl");
}

async function processOf(file: string): Promise<Process> {
  const names = new VirtualAddresses();
  const warnings: unknown[] = [];
  const logger = Object.assign(Object.create(silentLogger), {
    warn: (...line: unknown[]) => warnings.push(line),
  }) as typeof silentLogger;
  const kept = new KeptNames({ file, clock: fakeClock(), logger, names });
  await kept.catchUp();
  return {
    names,
    kept,
    warnings,
    resolve: (host) => kept.claim(host, names.addressOf(host, "ipv4")),
  };
}

/** Two names that have the same address where each is asked for alone. */
function twins(): readonly [string, string] {
  const known = new Map<string, string>();
  for (let index = 0; ; index += 1) {
    const host = `s${index}.example.test`;
    const address = new VirtualAddresses().addressOf(host, "ipv4");
    const other = known.get(address);
    if (other !== undefined) return [other, host];
    known.set(address, host);
  }
}

const [FIRST, SECOND] = twins();

void t.test("the next process knows each name by its address", async (t) => {
  const file = fileOf(t);
  const before = await processOf(file);
  const first = await before.resolve(FIRST);
  const second = await before.resolve(SECOND);
  const six = await before.kept.claim(
    FIRST,
    before.names.addressOf(FIRST, "ipv6"),
  );
  t.not(first, second);
  const { mode } = await stat(file);
  t.equal(mode & 0o777, 0o600);
  for (const order of [
    [FIRST, SECOND],
    [SECOND, FIRST],
  ]) {
    const after = await processOf(file);
    t.equal(after.names.hostOf(undefined, first), FIRST);
    t.equal(after.names.hostOf(undefined, second), SECOND);
    t.equal(after.names.hostOf(undefined, six), FIRST);
    for (const host of order)
      t.equal(await after.resolve(host), host === FIRST ? first : second);
    t.same(
      after.kept.learnt().map(({ host }) => host),
      [FIRST, SECOND, FIRST],
      "for the other workers",
    );
    t.same(after.kept.learnt(), []);
  }
});

void t.test("two processes at once give no address twice", async (t) => {
  const file = fileOf(t);
  const older = await processOf(file);
  const newer = await processOf(file);
  const [one, two] = await Promise.all([
    older.resolve(FIRST),
    newer.resolve(SECOND),
  ]);
  t.not(one, two, "two names that prefer one address");
  const [same, again] = await Promise.all([
    older.resolve("c.example.test"),
    newer.resolve("c.example.test"),
  ]);
  t.equal(same, again, "one name has one");
  for (const { names, kept } of [older, newer, await processOf(file)]) {
    await kept.catchUp();
    t.equal(names.hostOf(undefined, one), FIRST);
    t.equal(names.hostOf(undefined, two), SECOND);
    t.equal(names.hostOf(undefined, same), "c.example.test");
  }
});

void t.test("a name that is given by another process moves here", async (t) => {
  const file = fileOf(t);
  const older = await processOf(file);
  const newer = await processOf(file);
  const held = await older.resolve(SECOND);
  // What it would have by itself.
  t.equal(newer.names.addressOf(FIRST, "ipv4"), held);
  const other = await newer.resolve(FIRST);
  t.not(other, held);
  t.equal(newer.names.hostOf(undefined, held), SECOND);
  t.equal(newer.names.hostOf(undefined, other), FIRST);
});

void t.test("what is not whole counts for nothing", async (t) => {
  const file = fileOf(t);
  const before = await processOf(file);
  const address = await before.resolve(FIRST);
  const line = (await readFile(file, "utf8")).trim();
  const rows: readonly [string, string][] = [
    ["cut short", line.slice(0, 30)],
    ["another host", line.replace(FIRST, "evil.example.test")],
    ["another address", line.replace(address, "240.240.77.7")],
    ["another sign", line.replace('"+"', '"-"')],
    ["no list", "{}"],
    ["no JSON", "\0\0\0"],
  ];
  for (const [what, text] of rows) {
    await writeFile(file, text);
    const after = await processOf(file);
    t.equal(after.names.size, 0, what);
    const other = await after.resolve(SECOND);
    const last = await processOf(file);
    t.equal(last.names.hostOf(undefined, other), SECOND, `after ${what}`);
  }
  await writeFile(file, `${line}\n${line}\n`);
  await appendFile(file, line.slice(0, 20));
  t.equal((await processOf(file)).names.hostOf(undefined, address), FIRST);
});

void t.test("what has made room is another's in each process", async (t) => {
  const file = fileOf(t);
  const before = await processOf(file);
  const first = await before.resolve(FIRST);
  for (let index = 0; index < MOST_VIRTUAL; index += 1)
    before.names.addressOf(`n${index}.example.org`, "ipv4");
  t.equal(before.names.hostOf(undefined, first), undefined);
  t.equal(await before.resolve(SECOND), first, "free again");
  const after = await processOf(file);
  t.equal(after.names.hostOf(undefined, first), SECOND);
  t.equal(await before.resolve(FIRST), await after.resolve(FIRST));
});

void t.test("many names at once are written together", async (t) => {
  const file = fileOf(t);
  const { resolve, names, warnings } = await processOf(file);
  const hosts = Array.from({ length: 5000 }, (_, each) => `n${each}.example`);
  const given = await Promise.all(hosts.map(resolve));
  t.equal(new Set(given).size, hosts.length);
  t.same(warnings, []);
  const after = await processOf(file);
  t.equal(after.names.size, names.size);
  for (const [index, address] of given.entries())
    if (after.names.hostOf(undefined, address) !== hosts[index])
      t.fail(`${address} is not ${hosts[index]}`);
});

void t.test("a disk that hangs is not waited for", async (t) => {
  const file = fileOf(t);
  const clock = fakeClock();
  const names = new VirtualAddresses();
  const kept = new KeptNames({ file, clock, logger: silentLogger, names });
  const claim = kept.claim(FIRST, names.addressOf(FIRST, "ipv4"));
  clock.advance(WAIT_FOR_DISK);
  t.equal(names.hostOf(undefined, await claim), FIRST);
  t.equal(clock.pending, 0);
  await kept.catchUp();
  t.equal((await processOf(file)).names.size, 1, "it is kept in the end");
});

void t.test("names are resolved where nothing can be kept", async (t) => {
  const directory = t.testdir({ taken: "a file" });
  const file = join(directory, "taken", "names.jsonl");
  const { resolve, names, warnings } = await processOf(file);
  const address = await resolve(FIRST);
  t.equal(names.hostOf(undefined, address), FIRST);
  t.not(await resolve(SECOND), address);
  t.equal(warnings.length, 1, "said once");
  await rm(join(directory, "taken"));
  await resolve("third.example.test");
  t.equal((await processOf(file)).names.size, 3, "kept once that can be done");
});

void t.test("a sidecar knows the names of the one before it", async (t) => {
  const file = fileOf(t);
  const dns = { host: "127.0.0.1", port: 0, servers: [], file };
  const older = await processOf(file);
  const address = await older.resolve("kept.example.test");
  const reverse = `${address.split(".").reverse().join(".")}.in-addr.arpa`;
  for (const concurrency of [1, 2])
    await withPair({ caller: { dns, concurrency } }, async ({ caller }) => {
      const page = await fetch(`http://127.0.0.1:${caller.ports.admin}/config`);
      const shown = (await page.json()) as { readonly dns: { port: number } };
      const { port } = shown.dns;
      const reply = await askByDatagram(port, question(reverse, "PTR"));
      t.equal(summary(reply), "NOERROR PTR kept.example.test");
      await askByDatagram(port, question("orders", "A"));
    });
  const after = await processOf(file);
  t.equal(after.names.size, 2, "orders is kept, too");
});

void t.test("what another user has put there is not believed", async (t) => {
  if (process.geteuid?.() !== 0) {
    t.comment("only root can make files of others");
    return;
  }
  const directory = join(await temporaryDirectory(t), "state");
  await mkdir(directory);
  const file = join(directory, "virtual-addresses.jsonl");
  const address = await (await processOf(file)).resolve(FIRST);
  for (const [uid, believed] of [
    [65_534, true],
    [1234, false],
  ] as const)
    await whileReadOnly(directory, async () => {
      process.seteuid?.(0);
      await chmod(file, 0o644);
      await chown(file, uid, 12_345);
      process.seteuid?.(65_534);
      const { names, warnings } = await processOf(file);
      t.equal(names.hostOf(undefined, address), believed ? FIRST : undefined);
      t.equal(warnings.length, believed ? 0 : 1, JSON.stringify(warnings));
    });
});
