/** What nobody caught: told once with its cause, an end in order, and an end at once for the second. */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { EXIT } from "../../src/core/errors.ts";
import {
  Defence,
  DEFECT_FILE,
  type LastResort,
} from "../../src/runtime/last-resort.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

interface Rig {
  readonly clock: FakeClock;
  readonly defence: LastResort;
  readonly directory: string;
  /** "stop", "exit 70" and the lines, in their order. */
  readonly seen: string[];
}

function rig(directory: string): Rig {
  const clock = fakeClock();
  const seen: string[] = [];
  const defence = new Defence({
    clock,
    stop: () => void seen.push("stop"),
    exit: (code) => void seen.push(`exit ${code}`),
    lines: { write: (line) => void seen.push(line), flush: () => undefined },
  });
  return { clock, defence, directory, seen };
}

function protectedRig(directory: string): Rig {
  const made = rig(directory);
  made.defence.protect({
    component: "sidecar",
    stateDirectory: directory,
    inFlight: () => ({ inbound: 3 }),
  });
  return made;
}

void t.test("the first begins the end, and tells why", (t) => {
  const { defence, directory, seen } = protectedRig(t.testdir());
  t.equal(defence.ending, false);
  const cause = new Error("the cause");
  defence.tell(new Error("made", { cause }), "uncaughtException");
  t.equal(defence.ending, true);
  t.equal(seen.length, 2);
  t.equal(seen[1], "stop");
  const report = JSON.parse(seen[0] ?? "") as Record<string, unknown>;
  t.match(report, {
    level: "fatal",
    component: "sidecar",
    version: /^\d/,
    node: process.version,
    where: "uncaughtException",
    error: "made",
    stack:
      /^Error: made\n[^]*last-resort\.test\.ts[^]*caused by Error: the cause/,
    inFlight: { inbound: 3 },
  });
  const file = join(directory, DEFECT_FILE);
  t.same(JSON.parse(readFileSync(file, "utf8")), report);
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.end();
});

void t.test("a second one ends the process at once", (t) => {
  const { defence, directory, seen } = protectedRig(t.testdir());
  defence.tell(new Error("first"), "uncaughtException");
  defence.tell(new Error("second"), "unhandledRejection");
  t.equal(seen.at(-1), `exit ${EXIT.defect}`);
  t.match(seen[2] ?? "", /"error":"second".*ends at once/);
  t.match(readFileSync(join(directory, DEFECT_FILE), "utf8"), /"first"/);
  t.end();
});

void t.test("an end in order that does not come is not waited for", (t) => {
  const { clock, defence, seen } = protectedRig(t.testdir());
  defence.tell("no error at all", "uncaughtException");
  clock.advance(19_999);
  t.equal(seen.at(-1), "stop");
  clock.advance(1);
  t.equal(seen.at(-1), `exit ${EXIT.defect}`);
  t.end();
});

void t.test("neither a disk nor a report that fails is in the way", (t) => {
  const directory = t.testdir({ gone: {} });
  rmSync(join(directory, "gone"), { recursive: true });
  const { defence, seen } = rig(directory);
  defence.protect({
    component: "sidecar",
    stateDirectory: join(directory, "gone"),
    inFlight: () => {
      throw new Error("in an unknown state");
    },
  });
  defence.tell(new Error("made"), "uncaughtException");
  t.match(seen[0] ?? "", /"inFlight":"unknown: in an unknown state"/);
  t.equal(seen[1], "stop");
  t.end();
});

void t.test("a command that does not serve ends at once", (t) => {
  const { defence, seen } = rig(t.testdir());
  defence.tell(new Error("made"), "uncaughtException");
  t.match(seen[0] ?? "", /^error: Error: made\n/);
  t.equal(seen[1], `exit ${EXIT.defect}`);
  t.end();
});
