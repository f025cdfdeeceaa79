/** Many sidecars that come at once: their handshakes begin a few in a turn of the event loop, and all get in. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect as connectTcp, type Socket } from "node:net";
import { connect } from "node:tls";
import t, { type Test } from "tap";
import { call, openClient } from "../../../src/agent/connection.ts";
import {
  HANDSHAKES_A_TURN,
  MOST_ARRIVING,
} from "../../../src/control-plane/push/arrivals.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { ENROLMENT } from "../../../src/push/services.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  startTestControlPlane,
  until,
} from "../../support/control-plane/push-control-plane.ts";

void t.test("what was said before its turn is not lost", async (t) => {
  const { port } = await startTestControlPlane(t);
  const many = 6 * HANDSHAKES_A_TURN;
  const sockets = Array.from({ length: many }, () =>
    connect({
      host: "127.0.0.1",
      port,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
    }),
  );
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          socket.once("secureConnect", resolve);
          socket.once("error", reject);
        }),
    ),
  );
  t.equal(
    sockets.filter(({ alpnProtocol }) => alpnProtocol === "h2").length,
    many,
  );
});

void t.test("who has gone before his turn is passed over", async (t) => {
  const plane = await startTestControlPlane(t);
  const { port } = plane;
  const gone = Array.from({ length: 3 * HANDSHAKES_A_TURN }, () => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => undefined);
    socket.once("connect", () => socket.destroy());
    return socket;
  });
  await Promise.all(
    gone.map(
      (socket) => new Promise((resolve) => socket.once("close", resolve)),
    ),
  );
  const late = connect({
    host: "127.0.0.1",
    port,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
  });
  await new Promise<void>((resolve, reject) => {
    late.once("secureConnect", resolve);
    late.once("error", reject);
  });
  late.destroy();
  await t.resolves(plane.close());
});

void t.test(
  "of one that waits, no more than its first bytes are read",
  async (t) => {
    const accepted: Socket[] = [];
    const onSocket = (message: unknown): void =>
      void accepted.push((message as { readonly socket: Socket }).socket);
    const { port } = await startTestControlPlane(t, { clock: fakeClock() });
    subscribe("net.server.socket", onSocket);
    t.teardown(() => unsubscribe("net.server.socket", onSocket));
    const begin = async (): Promise<readonly [Socket, Socket]> => {
      const socket = beginHandshake(t, port);
      await until(() => accepted.length > before);
      before = accepted.length;
      const server = accepted.at(-1);
      if (server === undefined) throw new Error("nobody was accepted");
      await until(() => server.bytesRead > 0);
      return [socket, server];
    };
    let before = 0;
    for (let index = 0; index < MOST_ARRIVING; index += 1) await begin();
    const [socket, server] = await begin();
    await new Promise((resolve) => socket.write(Buffer.alloc(8192), resolve));
    const [, next] = await begin();
    t.equal(next.bytesRead, 5, "what came after it is read");
    t.equal(server.bytesRead, 5);
  },
);

void t.test(
  "who has its answer keeps nobody waiting, whenever it goes",
  async (t) => {
    const { port, address } = await startTestControlPlane(t, {
      clock: fakeClock(),
    });
    for (let index = 1; index < MOST_ARRIVING; index += 1)
      beginHandshake(t, port);
    // One place is left, and no time passes in which others become free.
    for (const which of ["the first", "the second"]) {
      const client = openClient({
        address,
        trustBundle: "",
        anyServer: true,
        maxMessageBytes: 65_536,
        clock: systemClock,
      });
      t.teardown(() => client.close());
      await t.rejects(
        call(
          client,
          ENROLMENT.Enrol,
          { token: "none", csr: "", name: "" },
          {
            clock: systemClock,
            timeout: 60_000,
            signal: new AbortController().signal,
          },
        ),
        { message: /invalid enrolment token/ },
        which,
      );
    }
  },
);

/** Says the head of a record of a handshake, whose rest does not come. */
function beginHandshake(t: Test, port: number): Socket {
  const socket = connectTcp({ host: "127.0.0.1", port });
  socket.on("error", () => undefined);
  t.teardown(() => socket.destroy());
  socket.write(Buffer.from([22, 3, 1, 2, 0]));
  return socket;
}
