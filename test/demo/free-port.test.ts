/** Ports that are free, of a range that the environment names. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { freePort, isFree } from "../../src/demo/free-port.ts";
import { ROOT } from "../support/processes/demo.ts";

/** What a process prints that asks for a port. */
function asked(range: string): string {
  const file = join(ROOT, "src/demo/free-port.ts");
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `const { freePort } = await import(${JSON.stringify(file)}); console.log(await freePort());`,
    ],
    { env: { ...process.env, WHERRY_FREE_PORTS: range }, encoding: "utf8" },
  );
  return stdout + stderr;
}

void t.test("a port is free, and of the range", async (t) => {
  t.ok(await isFree(await freePort()));
  const port = Number(asked("21000-21099"));
  t.ok(port >= 21_000 && port <= 21_099, `${port}`);
  for (const bad of ["", "1", "5-", "0-9", "9-5", "1-65536", "a-b"])
    t.match(asked(bad), `invalid WHERRY_FREE_PORTS: expected two ports`, bad);
});
