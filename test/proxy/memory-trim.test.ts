import t from "tap";
import { libcFunction } from "../../src/core/libc.ts";
import { trimMemory, TRIM_LOOK } from "../../src/proxy/memory-trim.ts";
import { fakeClock } from "../harness/fake-clock.ts";

const MIB = 1024 * 1024;

void t.test(
  "memory is given back when the process has grown, and left alone when it has not",
  (t) => {
    const clock = fakeClock();
    let resident = 100 * MIB;
    let trims = 0;
    const stop = trimMemory({
      clock,
      resident: () => resident,
      trim() {
        trims += 1;
        resident -= 20 * MIB;
      },
    });
    clock.advance(TRIM_LOOK);
    t.equal(trims, 1, "once at the start");
    resident += 3 * MIB;
    clock.advance(10 * TRIM_LOOK);
    t.equal(trims, 1, "not worth it");
    resident += 30 * MIB;
    clock.advance(TRIM_LOOK);
    t.equal(trims, 2);
    stop();
    resident += 100 * MIB;
    clock.advance(10 * TRIM_LOOK);
    t.equal(trims, 2, "not after the end");
    t.end();
  },
);

void t.test("a function that the C library does not have is none", (t) => {
  t.equal(
    libcFunction("int wherry_has_no_such_function(int value)"),
    undefined,
  );
  if (process.platform === "linux")
    t.equal(libcFunction("int abs(int value)")?.(-3), 3);
  t.end();
});
