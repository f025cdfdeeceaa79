import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import { newEnvironment } from "../support/processes/demo.ts";

const RESIDENT = new URL("../../src/runtime/resident.ts", import.meta.url).href;

void t.test(
  "a process without a file handle left knows what it was at the last look",
  { skip: process.platform === "linux" ? false : "the limit is a Linux one" },
  async (t) => {
    const script = `
      import { openSync, writeSync } from "node:fs";
      const { residentBytes } = await import(${JSON.stringify(RESIDENT)});
      const before = residentBytes();
      try {
        for (;;) openSync("/dev/null");
      } catch (error) {
        writeSync(1, error.code + " ");
      }
      try {
        process.memoryUsage.rss();
      } catch (error) {
        writeSync(1, error.code + " ");
      }
      writeSync(1, String(residentBytes() === before && before > 1e7));
    `;
    const { stdout } = await promisify(execFile)(
      "bash",
      [
        ...["-c", 'ulimit -n 60; exec "$0" "$@"'],
        ...[process.execPath, "--input-type=module", "--eval", script],
      ],
      { env: newEnvironment() },
    );
    t.match(stdout, /^EMFILE \S*EMFILE true$/);
  },
);
