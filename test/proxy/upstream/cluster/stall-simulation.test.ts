/** An instance that stops responding, in simulated time: how many calls hang there, and that one that is only slow stays. */
import t from "tap";
import { StallSimulation } from "../../../support/clocks/stall-simulation.ts";

/** Calls of 12,000 that may fail, by algorithm: chance and turns go on to it until it is doubted. */
const ALGORITHMS = [
  ["PEAK_EWMA", 8],
  ["LOAD_AWARE", 8],
  ["LEAST_REQUEST", 8],
  ["ROUND_ROBIN", 12],
  ["RANDOM", 16],
] as const;

for (const [algorithm, most] of ALGORITHMS)
  void t.test(algorithm, async (t) => {
    for (const fault of ["hang", "drip"] as const)
      for (const mix of ["GET", "POST", "mixed"] as const)
        for (const siblings of algorithm === "PEAK_EWMA" ? [1, 3] : [1]) {
          const what = `${fault}, ${mix}, ${siblings + 1} instances`;
          const run = await new StallSimulation({
            algorithm,
            fault,
            mix,
            siblings,
            seed: 7,
          }).run();
          const { failed, ejections } = run;
          t.ok(run.calls > 10_000, what);
          t.ok(
            failed.length <= (fault === "hang" && mix === "GET" ? 0 : most),
            `${what}: ${failed.length} failed`,
          );
          t.same(
            failed.filter((at) => at > 1000),
            [],
            `${what}: none once it is known, and none when it is back`,
          );
          t.ok(run.p99 <= 3 * run.quietP99, `${what}: p99 ${run.p99}`);
          t.match(ejections[0], /^\d+ stalled: /, what);
          t.ok(
            ejections.every((each) => /stalled|probe/.test(each)),
            what,
          );
        }
  });

void t.test(
  "some requests, or all, take 3 s, at many calls and at few: nobody is ejected",
  async (t) => {
    for (const rate of [200, 10, 2])
      for (const slowOneIn of [100, 10, 1])
        for (const mix of ["GET", "POST"] as const) {
          const run = await new StallSimulation({
            algorithm: "PEAK_EWMA",
            fault: "none",
            mix,
            seed: 3,
            rate,
            slowOneIn,
          }).run();
          const what = `${rate} a second, one in ${slowOneIn}, ${mix}`;
          t.same(run.ejections, [], what);
          t.same(run.failed, [], what);
          t.ok(
            run.asked <= run.calls / 20,
            `${what}: asked ${run.asked} times`,
          );
        }
  },
);

void t.test(
  "gRPC without a deadline: unary calls leave an instance that hangs, and streams that are silent eject nobody",
  async (t) => {
    for (const algorithm of ["PEAK_EWMA", "ROUND_ROBIN"] as const) {
      const options = { algorithm, mix: "POST", seed: 7 } as const;
      const hang = await new StallSimulation({
        ...options,
        ...{ fault: "hang", streamOneIn: 20 },
      }).run();
      t.ok(hang.failed.length <= 12, `${algorithm}: ${hang.failed.length}`);
      t.same(
        hang.failed.filter((at) => at > 1000),
        [],
        `${algorithm}: none once it is known, and none when it is back`,
      );
      t.match(hang.ejections[0], /^\d+ stalled: /);
      for (const streamOneIn of [1, 2, 20]) {
        const quiet = await new StallSimulation({
          ...options,
          ...{ fault: "none", streamOneIn, rate: 50 },
        }).run();
        t.same(quiet.ejections, [], `${algorithm}: one in ${streamOneIn}`);
        t.same(quiet.failed, []);
        t.equal(quiet.asked, 0, "nor is anybody asked");
      }
    }
  },
);

void t.test("pauses of 0.4 s eject nobody", async (t) => {
  const run = await new StallSimulation({
    algorithm: "PEAK_EWMA",
    fault: "pauses",
    mix: "POST",
    seed: 3,
  }).run();
  t.same(run.ejections, []);
  t.same(run.failed, []);
  t.comment(`asked ${run.asked} times`);
  t.end();
});
