/** SIGUSR1 and SIGUSR2 of processes that serve: no debugger, no end, and an access log that the real logrotate can rename. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { call, eventually } from "../support/peers/call.ts";
import { ROOT } from "../support/processes/demo.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";
import { startPlane } from "../support/processes/plane-process.ts";
import { findTool, needs } from "../support/processes/tools.ts";

const logrotate = findTool("logrotate");

function untilIn(text: () => string, part: string): Promise<string> {
  return eventually(
    `${part} is there`,
    10_000,
    () => Promise.resolve(text()),
    (now) => now.includes(part),
  );
}

/** By the configuration that users get, for this file and this process. */
function rotate(t: Test, file: string, pid: number): void {
  const config = `${file}.conf`;
  writeFileSync(
    config,
    readFileSync(join(ROOT, "config/systemd/wherry.logrotate"), "utf8")
      .replace(/^\/var.* \{$/m, `${file} {`)
      .replace("su wherry wherry", "su root root")
      .replace(/systemctl kill .*/, `kill -USR1 ${pid}`),
  );
  const { status, stderr } = spawnSync(
    logrotate ?? "logrotate",
    ["--force", "--state", `${file}.state`, config],
    { encoding: "utf8" },
  );
  t.equal(status, 0, stderr);
}

void t.test(
  "logrotate renames the access log, and the sidecar goes on in a new one",
  needs(logrotate === undefined ? ["logrotate"] : []),
  async (t) => {
    const file = join(t.testdir(), "access.log");
    const sidecar = await startLoneSidecar(
      (_request, response) => void response.end("ok"),
      ["--access-log", "all", "--access-log-file", file],
    );
    t.teardown(() => sidecar.stop());
    /** Calls, and resolves once the line of it is in the file. */
    const isLogged = async (path: string): Promise<void> => {
      await call(`http://127.0.0.1:${sidecar.published}${path}`, {
        headers: { host: "orders.shop" },
      });
      await untilIn(() => textOf(file), `"path":"${path}"`);
    };
    const log = (): string => sidecar.log.join("\n");
    await isLogged("/before");
    rotate(t, file, sidecar.pid);
    await untilIn(log, "the access log was opened anew");
    await isLogged("/after");
    t.match(textOf(`${file}.1`), '"path":"/before"');
    t.notMatch(textOf(file), '"path":"/before"');
    for (const place of [file, `${file}.1`])
      for (const line of textOf(place).trim().split("\n"))
        t.doesNotThrow(() => JSON.parse(line) as unknown, line);
    process.kill(sidecar.pid, "SIGUSR2");
    await untilIn(log, "SIGUSR2");
    t.notMatch(log(), "Debugger");
    await isLogged("/still-there");
  },
);

void t.test("a control plane heeds neither signal", async (t) => {
  const plane = await startPlane(join(t.testdir(), "state"));
  t.teardown(() => plane.process.stop());
  plane.process.signal("SIGUSR1");
  plane.process.signal("SIGUSR2");
  t.notMatch(await untilIn(() => plane.process.log, "SIGUSR2"), "Debugger");
  t.equal((await plane.ask("GET", "/status")).status, 200);
});

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
