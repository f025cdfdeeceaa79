import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import t from "tap";
import { call, eventually } from "../support/peers/call.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";

/** Handles that the sidecar may open beyond those that it has when it is idle. */
const SPARE = 20;
const CALLERS = 100;

void t.test(
  "a sidecar without a file handle left goes on, and serves again when it has some",
  async (t) => {
    const sidecar = await startLoneSidecar((_request, response) => {
      response.end("hello");
    });
    t.teardown(() => sidecar.stop());
    const url = `http://127.0.0.1:${sidecar.published}/`;
    t.equal((await call(url)).status, 200);
    const open = readdirSync(`/proc/${sidecar.pid}/fd`).length;
    execFileSync("prlimit", [
      ...["--pid", String(sidecar.pid)],
      `--nofile=${open + SPARE}:`,
    ]);

    const sockets: Socket[] = [];
    for (let n = 0; n < CALLERS; n++) {
      const socket = connect(sidecar.published, "127.0.0.1");
      socket.on("error", () => {
        // Closed without an answer: there is no handle to take it with.
      });
      socket.write("GET / HTTP/1.1\r\nhost: orders\r\n\r\n");
      sockets.push(socket);
    }
    await eventually(
      "all handles are taken",
      10_000,
      () =>
        Promise.resolve(readdirSync(`/proc/${sidecar.pid}/fd`).length - open),
      (more) => more >= SPARE,
    );
    for (const socket of sockets) socket.destroy();
    await eventually(
      "calls are answered again",
      10_000,
      async () => (await call(url).catch(() => ({ status: 0 }))).status,
      (status) => status === 200,
    );
  },
);
