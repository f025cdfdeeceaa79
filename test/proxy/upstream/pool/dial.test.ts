/** A connection that was made while the event loop stood still is there, however late the loop hears of it; one that fails says whether its name resolved. */
import dns from "node:dns";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { nextTick } from "node:process";
import t from "tap";
import { dialPlain } from "../../../../src/proxy/upstream/pool/dial.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

const TIMEOUT = 1000;

function nothing(): void {
  // The connection alone is of interest.
}

function dialTo(
  port: number,
  clock: ReturnType<typeof fakeClock>,
  address = "127.0.0.1",
): ReturnType<typeof dialPlain> {
  return dialPlain({
    clock,
    address,
    port,
    timeoutMs: TIMEOUT,
    observer: { available: nothing, closed: nothing, draining: nothing },
    signal: new AbortController().signal,
    protocol: "http/1.1",
    ownPorts: new Set(),
  });
}

void t.test("the time-out passes in the turn of the connection", async (t) => {
  const server = createServer((socket) => socket.resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const clock = fakeClock();
  const dialled = dialTo(port, clock);
  // Node connects in the next tick, and the kernel has made the connection when that is over.
  await new Promise((resolve) => nextTick(resolve));
  clock.advance(TIMEOUT);
  const connection = await dialled;
  connection.destroy();
  t.equal(clock.pending, 0);
});

void t.test("a name server that does not answer", async (t) => {
  const shape: { lookup: unknown } = dns;
  const real = shape.lookup;
  shape.lookup = nothing;
  t.teardown(() => (shape.lookup = real));
  const clock = fakeClock();
  const dialled = dialTo(80, clock, "silent.test");
  clock.advance(TIMEOUT);
  await t.rejects(dialled, {
    code: "CONNECT_TIMEOUT",
    message: /silent\.test:80: the name did not resolve within 1000 ms/,
  });
});
