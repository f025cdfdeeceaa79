// The first start of a control plane is killed at writes of its database: the next start has all that a first start makes.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { closeCalls } from "../../support/peers/call.ts";
import { startPlane } from "../../support/processes/plane-process.ts";
import { startWherry } from "../../support/processes/wherry-process.ts";

/** Writes of the whole process, all of which are SQLite's. */
const WRITES = [1, 2, 3, 5, 8, 11, 14, 17];

t.teardown(() => closeCalls());

for (const write of WRITES)
  void t.test(`killed at write ${write}`, async (t) => {
    if (spawnSync("strace", ["-V"], { stdio: "ignore" }).status !== 0) {
      t.pass("strace is missing");
      return;
    }
    const state = await mkdtemp(join(tmpdir(), "wherry-killed-"));
    t.teardown(() => rm(state, { recursive: true, force: true }));
    const killed = startWherry(
      [
        ...["control-plane", "--state", state, "--profile", "development"],
        ...["--api", "127.0.0.1:0", "--push", "127.0.0.1:0"],
      ],
      {
        prefix: [
          ...["strace", "-f", "-qq", "-o", "/dev/null"],
          ...["-e", "trace=pwrite64"],
          ...["-e", `inject=pwrite64:signal=SIGKILL:when=${write}`],
        ],
      },
    );
    t.teardown(() => killed.stop());
    await killed.untilEnded();
    t.notMatch(killed.log, /the control plane is up/);
    const plane = await startPlane(state);
    t.teardown(() => plane.process.stop());
    t.equal((await plane.ask("GET", "/status")).status, 200);
    t.match(await plane.token("orders"), /^wherry1\./);
  });
