/** The turn in which sidecars open their ports: a trouble of its own server ends nobody. */
import { spawnSync } from "node:child_process";
import { Server } from "node:net";
import { join } from "node:path";
import t from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import { inTurn } from "../../../src/proxy/downstream/port-lock.ts";
import { systemClock } from "../../../src/core/clock.ts";

const skip = process.platform !== "linux" && "abstract sockets are Linux's";

void t.test(
  "a connection that could not be accepted is no end of it",
  { skip },
  async (t) => {
    const listen = Reflect.get<Server, "listen">(Server.prototype, "listen");
    const captured = t.capture(Server.prototype, "listen", listen);
    const opened = await inTurn(systemClock, silentLogger, () => {
      const [call] = captured();
      // As Node tells it, where the process is out of file handles.
      const server = call?.receiver as Server | undefined;
      t.ok(server?.emit("error", new Error("accept EMFILE")), "it listens");
      return Promise.resolve("opened");
    });
    t.equal(opened, "opened");
  },
);

void t.test(
  "a process that has nothing else to do waits for its turn",
  { skip },
  (t) => {
    const src = join(import.meta.dirname, "../../../src");
    const { status, stdout } = spawnSync(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `import { systemClock } from "${src}/core/clock.ts";
       import { silentLogger } from "${src}/core/log.ts";
       import { inTurn } from "${src}/proxy/downstream/port-lock.ts";
       const waiting = Promise.withResolvers();
       const clock = {
         ...systemClock,
         after(ms, run) {
           waiting.resolve();
           return systemClock.after(ms, run);
         },
       };
       const first = inTurn(clock, silentLogger, async () => {
         console.log("first");
         await waiting.promise;
       });
       await inTurn(clock, silentLogger, async () => console.log("second"));
       await first;
       console.log("both");`,
      ],
      { encoding: "utf8", env: {} },
    );
    t.equal(stdout, "first\nsecond\nboth\n");
    t.equal(status, 0);
    t.end();
  },
);
