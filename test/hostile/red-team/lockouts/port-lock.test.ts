/** Another user of the machine holds the name by which sidecars take turns to open their ports, and lets nobody in: a sidecar with several workers starts all the same. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { call, closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";
import { needs } from "../../../support/processes/tools.ts";

const NOBODY = 65_534;
const user = process.getuid?.() ?? -1;
const skip = needs(user === 0 ? [] : ["root"]);
const NAMES = ["wherry-sidecar-starts", `wherry-sidecar-starts-${user}`];

/** Holds the names as another user. The second kind never accepts, and fills its own queue of those who wait. */
function squatter(full: boolean): string {
  return `
    const { createServer, connect } = require("node:net");
    process.setuid(${NOBODY});
    const names = ${JSON.stringify(NAMES)}.map((name) => "\\0" + name);
    Promise.all(names.map((name) => new Promise((resolve) => {
      const server = createServer((socket) => socket.on("error", () => {}));
      server.listen({ path: name, backlog: ${full ? 1 : 511} }, () => resolve(server));
    }))).then((servers) => {
      process.stdout.write("holding");
      if (${full}) {
        for (const name of names)
          for (let count = 0; count < 8; count += 1)
            connect(name).on("error", () => {});
        // Nothing of this process runs any more, so nothing is accepted.
        setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
      }
    });`;
}

for (const full of [false, true])
  void t.test(
    `a sidecar of two workers starts though another user holds the name${full ? " and lets nobody in" : ""}`,
    { timeout: 60_000, ...skip },
    async (t) => {
      const holder = spawn(process.execPath, ["-e", squatter(full)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      t.teardown(() => holder.kill("SIGKILL"));
      await once(holder.stdout, "data");
      const sidecar = await startLoneSidecar(
        (_request, response) => response.end("ok"),
        ["--concurrency", "2"],
      );
      t.teardown(async () => {
        closeCalls();
        await sidecar.stop();
      });
      const { status } = await call(`http://127.0.0.1:${sidecar.published}/`, {
        headers: { host: "orders.shop" },
      });
      t.equal(status, 200);
      t.match(
        sidecar.log.join("\n"),
        /another user holds the name by which sidecars take turns/,
      );
    },
  );
