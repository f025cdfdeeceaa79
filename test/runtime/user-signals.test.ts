/** SIGUSR1 and SIGUSR2: who answers them, and which commands Node is told to keep its debugger from. */
import { EventEmitter } from "node:events";
import t from "tap";
import { flagsOf } from "../../src/runtime/node-flags.ts";
import {
  listenForUserSignals,
  type UserSignal,
} from "../../src/runtime/user-signals.ts";

void t.test("each goes to what answers it, from the start", (t) => {
  const signals = new EventEmitter();
  const ignored: UserSignal[] = [];
  const answered: UserSignal[] = [];
  const heard = listenForUserSignals(signals, (signal) => ignored.push(signal));
  signals.emit("SIGUSR1");
  signals.emit("SIGUSR2");
  heard.answer((signal) => answered.push(signal));
  signals.emit("SIGUSR2");
  signals.emit("SIGUSR1");
  t.same(ignored, ["SIGUSR1", "SIGUSR2"]);
  t.same(answered, ["SIGUSR2", "SIGUSR1"]);
  t.end();
});

void t.test("what serves has no debugger to offer", (t) => {
  for (const command of ["sidecar", "control-plane", "dev", "demo-application"])
    t.ok(flagsOf(command).includes("--disable-sigusr1"), command);
  // What it becomes would inherit a blocked signal.
  t.same(flagsOf("wait"), []);
  t.end();
});
