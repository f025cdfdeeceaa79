/** The turn in which sidecars open their ports: a trouble of its own server ends nobody. */
import { Server } from "node:net";
import t from "tap";
import { silentLogger } from "../../../src/core/log.ts";
import { inTurn } from "../../../src/proxy/downstream/port-lock.ts";
import { systemClock } from "../../../src/core/clock.ts";

void t.test(
  "a connection that could not be accepted is no end of it",
  { skip: process.platform !== "linux" && "abstract sockets are Linux's" },
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
