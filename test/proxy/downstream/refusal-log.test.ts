/** Refusals in the log: a few a second for each reason, whatever number comes, and none is forgotten. */
import t from "tap";
import {
  makeRefusalLog,
  REFUSAL_LINES,
} from "../../../src/proxy/downstream/refusal-log.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { keptLog } from "../../support/laws/harness.ts";

function logged() {
  const clock = fakeClock();
  const { logger, lines } = keptLog();
  return { clock, lines, log: makeRefusalLog(logger, clock) };
}

void t.test(
  "a flood of one reason gets a few lines, and another reason its own",
  (t) => {
    const { log, lines } = logged();
    for (let index = 0; index < 10_000; index += 1)
      log.warn("connection refused", "plaintext", { index });
    t.equal(lines.length, REFUSAL_LINES);
    log.warn("request refused", "BAD_REQUEST", { detail: "bare LF" });
    t.match(lines.at(-1), {
      msg: "request refused",
      reason: "BAD_REQUEST",
      detail: "bare LF",
    });
    t.end();
  },
);

void t.test("the next line says how many were left out", (t) => {
  const { log, lines, clock } = logged();
  for (let index = 0; index < 100; index += 1)
    log.warn("connection refused", "plaintext", { index });
  clock.advance(1000);
  log.warn("connection refused", "plaintext", { index: 100 });
  t.match(lines.at(-1), { index: 100, suppressed: 100 - REFUSAL_LINES });
  log.warn("connection refused", "plaintext", { index: 101 });
  t.equal(lines.at(-1)?.["suppressed"], undefined, "once");
  t.end();
});

void t.test("a flood that is over is told of as well", (t) => {
  const { log, lines, clock } = logged();
  for (let index = 0; index < 100; index += 1)
    log.warn("connection refused", "plaintext", { index });
  log.catchUp();
  t.equal(lines.length, REFUSAL_LINES, "not before there may be a line again");
  clock.advance(1000);
  log.catchUp();
  t.match(lines.at(-1), {
    msg: "connection refused",
    reason: "plaintext",
    suppressed: 100 - REFUSAL_LINES,
  });
  log.catchUp();
  t.equal(lines.length, REFUSAL_LINES + 1);
  t.end();
});
