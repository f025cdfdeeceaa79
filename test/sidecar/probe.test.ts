/** What the probe says of each port, and how often it knocks. */
import { createServer, type Server } from "node:net";
import t, { type Test } from "tap";
import { silentLogger } from "../../src/core/log.ts";
import {
  LATE,
  startProbe,
  type Probe,
  type ProbeOptions,
} from "../../src/sidecar/probe.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { listening, until } from "../support/meshes/pair.ts";

async function server(t: Test): Promise<{ server: Server; port: number }> {
  const made = createServer((socket) => socket.destroy());
  const port = await listening(made);
  t.teardown(() => made.close());
  return { server: made, port };
}

function probe(t: Test, options: Partial<ProbeOptions>): Probe {
  const made = startProbe({
    clock: fakeClock(),
    logger: silentLogger,
    address: "127.0.0.1",
    ports: () => [],
    ownPorts: new Set(),
    ...options,
  });
  t.teardown(() => made.close());
  return made;
}

void t.test("no application is on a port of the sidecar", async (t) => {
  const [own, other] = [await server(t), await server(t)];
  const { found } = probe(t, {
    ports: () => [own.port, other.port],
    ownPorts: new Set([own.port]),
  });
  await until(() => found.value !== undefined);
  t.same(found.value, {
    answers: true,
    silent: new Map([
      [own.port, `127.0.0.1:${own.port} is the sidecar's own port`],
    ]),
  });
});

void t.test(
  "a port that stays dead leaves the others of its application in peace",
  async (t) => {
    const [dead, live] = [await server(t), await server(t)];
    dead.server.close();
    let knocks = 0;
    live.server.on("connection", () => (knocks += 1));
    const clock = fakeClock();
    const { found } = probe(t, { clock, ports: () => [dead.port, live.port] });
    const looked = async (ms: number): Promise<void> => {
      const before = knocks;
      await until(() => {
        clock.advance(ms);
        return knocks > before;
      });
    };
    await until(() => found.value?.answers === true);
    await looked(100);
    clock.advance(LATE);
    await looked(100);
    await until(() => clock.pending > 0);
    const before = knocks;
    clock.advance(1999);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(knocks, before);
    await looked(1);
  },
);
