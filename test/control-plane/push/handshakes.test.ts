/** Many sidecars that come at once: their handshakes begin a few in a turn of the event loop, and all get in. */
import { connect } from "node:tls";
import t from "tap";
import { HANDSHAKES_A_TURN } from "../../../src/control-plane/push/arrivals.ts";
import { startTestControlPlane } from "../../support/control-plane/push-control-plane.ts";

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
