/** A stranger holds every connection of the metrics port, silent, mute in the middle of a request, or without taking the response: probes and scrapes get through, and what it sends ahead costs no page each. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { call, closeCalls, eventually } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

const HELD = 300;

const sidecar = await startLoneSidecar((_request, response) =>
  response.end("ok"),
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** Connections from a stranger's address that say `text` and never close by themselves. */
async function hold(port: number, text: string): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let count = 0; count < HELD; count += 1)
    sockets.push(
      await new Promise((resolve) => {
        const socket = connect({
          port,
          host: "127.0.0.1",
          localAddress: "127.0.0.2",
          allowHalfOpen: true,
        });
        socket.on("error", () => undefined);
        socket.once("connect", () => {
          // Nothing is read: what the sidecar says stays where it is.
          socket.pause();
          if (text !== "") socket.write(text);
          resolve(socket);
        });
      }),
    );
  return sockets;
}

const WAYS = [
  ["says nothing", ""],
  ["stops within a request", "GET /metrics HTTP/1.1\r\nHost: a\r\n"],
  ["sends nonsense", "nonsense\r\n\r\n"],
  ["takes no response", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"],
] as const;

for (const port of ["metrics", "admin"] as const)
  for (const [what, text] of WAYS)
    void t.test(
      `a stranger holds ${HELD} connections of the ${port} port and ${what}: probes get through`,
      async (t) => {
        // A probe comes on a connection of its own.
        closeCalls();
        const held = await hold(sidecar[port], text);
        t.teardown(() => {
          for (const socket of held) socket.destroy();
        });
        for (const page of ["/livez", "/readyz"]) {
          const { status } = await eventually(
            `${page} answers`,
            5000,
            () => call(`http://127.0.0.1:${sidecar[port]}${page}`),
            (called) => called.status === 200,
          );
          t.equal(status, 200);
        }
      },
    );

void t.test(
  "a thousand requests for a page that are sent ahead cost about one",
  async (t) => {
    const ask = (text: string): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(sidecar.metrics, "127.0.0.1", () =>
          socket.write(text),
        );
        socket.resume();
        socket.on("error", () => undefined);
        socket.on("close", () => resolve());
      });
    await ask("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const before = sidecar.loopCpu();
    await ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000));
    const cost = sidecar.loopCpu() - before;
    t.ok(cost < 150, `${cost.toFixed(0)} ms of CPU`);
  },
);
