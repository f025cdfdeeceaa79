/** A server that cannot listen for a moment does so in the next, and one that cannot accept goes on. */
import { createServer } from "node:net";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { listenOn } from "../../src/core/listening.ts";
import { machineErrors } from "../../src/core/machine/machine-counts.ts";
import { failListen } from "../support/faults/listen-faults.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };

function ignore(): void {
  // Nothing is wrong.
}

void t.test("a momentary error is waited for, another is not", async (t) => {
  for (const [code, listens] of [
    ["EMFILE", 2],
    ["ENOBUFS", 2],
    ["EADDRINUSE", 1],
    ["EADDRNOTAVAIL", 1],
    ["EACCES", 1],
  ] as const) {
    const faults = failListen(1, code);
    const server = createServer();
    const listening = listenOn(systemClock, server, LOCAL, ignore);
    if (listens === 1) await t.rejects(listening, { code });
    else t.ok((await listening).port > 0, code);
    faults.release();
    t.equal(faults.servers.length, listens, code);
    t.equal(server.listenerCount("listening"), 0);
    t.equal(server.listenerCount("error"), listens === 1 ? 0 : 1);
    server.close();
  }
});

void t.test("what cannot be accepted is counted and told", async (t) => {
  const server = createServer();
  const told: string[] = [];
  await listenOn(systemClock, server, LOCAL, ({ message }) =>
    told.push(message),
  );
  server.emit("error", Object.assign(new Error("full"), { code: "ENFILE" }));
  t.same(told, ["full"]);
  t.same([...machineErrors()], [{ part: "accept", error: "ENFILE", count: 1 }]);
  server.close();
});
