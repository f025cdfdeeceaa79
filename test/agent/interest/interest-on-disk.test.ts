import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { InterestOnDisk } from "../../../src/agent/interest/interest-on-disk.ts";
import type { KeptInterest } from "../../../src/agent/interest/mesh-interest.ts";
import {
  openStateDirectory,
  type StateDirectory,
} from "../../../src/agent/state-directory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";

const OWNER = {
  identity: "spiffe://cluster.local/ns/shop/sa/web",
  name: "web-1",
} as const;

const KEPT: KeptInterest = {
  services: ["shop/orders"],
  lookups: new Map([
    ["Host//orders.shop", { services: ["shop/orders"] }],
    ["Host//none", { services: [] }],
  ]),
};

function onDisk(
  directory: StateDirectory,
  clock = fakeClock(),
): { disk: InterestOnDisk; written: () => number } {
  let written = 0;
  const disk = new InterestOnDisk({
    directory: {
      ...directory,
      async write(name, content) {
        await directory.write(name, content);
        written += 1;
      },
    },
    clock,
    logger: silentLogger,
    current: () => ({ ...KEPT, owner: OWNER }),
  });
  return { disk, written: () => written };
}

void t.test("what is kept comes back, to its owner alone", async (t) => {
  const directory = await openStateDirectory(await temporaryDirectory(t));
  const { disk } = onDisk(directory);
  t.equal(await disk.read(OWNER), undefined);
  disk.changed();
  await disk.close();
  const next = onDisk(directory).disk;
  t.same(await next.read(OWNER), KEPT);
  t.equal(await next.read({ ...OWNER, name: "web-2" }), undefined);
  t.equal(
    await next.read({
      ...OWNER,
      identity: "spiffe://cluster.local/ns/shop/sa/other",
    }),
    undefined,
  );
});

void t.test("it is written seldom, and at the end", async (t) => {
  const directory = await openStateDirectory(await temporaryDirectory(t));
  const clock = fakeClock();
  const { disk, written } = onDisk(directory, clock);
  for (let time = 0; time < 100; time += 1) disk.changed();
  clock.advance(9999);
  t.equal(written(), 0);
  clock.advance(1);
  await disk.settled();
  t.equal(written(), 1);
  disk.changed();
  await disk.close();
  t.equal(written(), 2);
  await disk.close();
  t.equal(written(), 2, "nothing has changed");
});

void t.test("what cannot be read or written is done without", async (t) => {
  const path = await temporaryDirectory(t);
  const directory = await openStateDirectory(path);
  await writeFile(join(path, "interest.json"), "{}");
  await chmod(join(path, "interest.json"), 0o600);
  const { disk } = onDisk(directory);
  t.equal(await disk.read(OWNER), undefined);
  const failing = onDisk({
    ...directory,
    write: () => Promise.reject(new Error("no space")),
  });
  failing.disk.changed();
  await failing.disk.close();
  const readOnly = onDisk({ ...directory, readOnly: "it could not be made" });
  readOnly.disk.changed();
  await readOnly.disk.close();
  t.equal(readOnly.written(), 1, "what it was at the start is tried again");
});
