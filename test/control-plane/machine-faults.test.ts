/** A control plane whose machine fails once: at each port that it opens, and at each file operation of the renewal of its authority. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  openAuthority,
  type Authority,
} from "../../src/control-plane/authority/authority.ts";
import {
  startControlPlane,
  type ControlPlane,
} from "../../src/control-plane/control-plane.ts";
import { keepOwnCredentials } from "../../src/control-plane/own-credentials.ts";
import { systemClock } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import { watchFiles, type Faults } from "../support/faults/fs-faults.ts";
import { failListen } from "../support/faults/listen-faults.ts";

const DAY = 24 * 3_600_000;
/** When a new issuing certificate is due: three months before the end of a year. */
const DUE = 280 * DAY;

function start(stateDirectory: string): Promise<ControlPlane> {
  return startControlPlane({
    stateDirectory,
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
}

void t.test("whichever port cannot be opened at first", async (t) => {
  const state = t.testdir();
  const counted = failListen(0, "");
  const model = await start(state);
  counted.release();
  t.equal(counted.servers.length, 2);
  // A connection that cannot be let in ends no process.
  for (const server of counted.servers)
    t.doesNotThrow(() =>
      server.emit("error", Object.assign(new Error(), { code: "ENOMEM" })),
    );
  t.match([...machineErrors()], [{ part: "accept", count: 2 }]);
  await model.close();
  for (const at of [1, 2])
    for (const code of ["EMFILE", "ENOBUFS"]) {
      const faults = failListen(at, code);
      const plane = await start(state);
      faults.release();
      t.equal(faults.servers.length, 3, `${code} at ${at}`);
      t.equal((await fetch(`${plane.apiUrl}/livez`)).status, 200);
      await plane.close();
    }
  for (const at of [1, 2]) {
    const faults = failListen(at, "EADDRINUSE");
    await t.rejects(start(state), UserError);
    faults.release();
    t.equal(faults.servers.length, at, "it is not tried again");
  }
});

const FAULTS: readonly Faults[] = [
  { write: "ENOSPC", read: "EIO" },
  { write: "EIO", read: "EMFILE" },
  { write: "EROFS", read: "ENFILE" },
];

function open(directory: string, clock: FakeClock): Promise<Authority> {
  return openAuthority({ directory, trustDomain: "cluster.local", clock });
}

const OWN = "spiffe://cluster.local/ns/wherry-system/sa/control-plane";

void t.test(
  "whichever file operation of the renewal fails, it signs on and renews at the next signing",
  async (t) => {
    const wall = Date.now();
    const root = t.testdir();
    const model = fakeClock({ wall });
    const authority = await open(join(root, "model"), model);
    const files = watchFiles(join(root, "model"));
    model.advance(DUE);
    authority.own(OWN);
    const { length } = files.operations;
    files.release();
    t.ok(length >= 5, files.operations.map(({ name }) => name).join(" "));

    for (let number = 1; number <= length; number += 1) {
      const directory = join(root, String(number));
      const clock = fakeClock({ wall });
      const failing = await open(directory, clock);
      const before = failing.issuingNotAfter;
      const faults = watchFiles(directory);
      faults.failAt(number, FAULTS[number % FAULTS.length] ?? {});
      clock.advance(DUE);
      t.ok(failing.own(OWN).notAfter > clock.wall(), "it signs");
      t.equal(faults.failed, 1);
      t.match(failing.renewalFault, /made by a test/, `${number}`);
      t.equal(failing.issuingNotAfter, before);
      faults.release();

      failing.own(OWN);
      t.equal(failing.renewalFault, undefined);
      t.ok(failing.issuingNotAfter > before);
      t.equal(readdirSync(directory).length, 4, "nothing is left over");
      const next = await open(directory, clock);
      t.equal(next.issuingNotAfter, failing.issuingNotAfter);
      t.equal(next.fingerprint, failing.fingerprint);
    }
  },
);

void t.test(
  "its own certificate is renewed on a disk that takes and gives nothing",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const directory = join(t.testdir(), "authority");
    const authority = await open(directory, clock);
    const files = watchFiles(directory);
    files.failAll({ write: "EROFS", read: "EIO" });
    clock.advance(DUE);
    const own = keepOwnCredentials({
      own: (id) => authority.own(id),
      trustDomain: "cluster.local",
      clock,
      logger: silentLogger,
    });
    const first = own.credentials.value;
    clock.advance(DAY / 2);
    t.ok(own.credentials.value.notAfter > first.notAfter);
    t.match(authority.renewalFault, /EROFS/);
    files.failAll(undefined);
    clock.advance(DAY);
    t.equal(authority.renewalFault, undefined);
    files.release();
    own.close();
  },
);
