/** Handshakes with the link that come to nothing: a source has so many, and then it is closed before one is spent on it; others are served. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect } from "node:tls";
import t from "tap";
import { call, closeCalls, eventually } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

const sidecar = await startLoneSidecar((_request, response) => {
  response.end("ok");
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** Whether the server said anything to somebody without a certificate. */
function handshake(localAddress: string): Promise<boolean> {
  return new Promise((resolve) => {
    let answered = false;
    const raw = connectTcp({
      port: sidecar.link,
      host: "127.0.0.1",
      localAddress,
    });
    const socket = connect({
      socket: raw,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
    });
    socket.on("secureConnect", () => (answered = true));
    socket.on("error", () => undefined);
    raw.on("error", () => undefined);
    raw.on("close", () => resolve(answered));
    socket.resume();
  });
}

const turnedAway = (): Promise<number> =>
  sidecar.metric(
    "wherry_refusals_total",
    'listener="link"',
    'reason="source turned away"',
  );

void t.test(
  "handshakes without a certificate, from one address, all the time",
  async (t) => {
    const began = performance.now();
    let answered = 0;
    const lanes = Array.from({ length: 10 }, async () => {
      for (let count = 0; count < 50; count += 1)
        if (await handshake("127.0.0.2")) answered += 1;
    });
    await Promise.all(lanes);
    const seconds = Math.ceil((performance.now() - began) / 1000);
    t.ok(
      answered >= 200 && answered <= 210 + 50 * seconds,
      `${answered} were gone through with in ${seconds} s`,
    );
    t.ok((await turnedAway()) >= 20, "the others were turned away");
    t.equal(await handshake("127.0.0.3"), true, "another address is not");
  },
);

void t.test(
  "400 silent connections to the link from one address",
  async (t) => {
    const sockets: Socket[] = [];
    const open = (localAddress: string): void => {
      const socket = connectTcp({
        port: sidecar.link,
        host: "127.0.0.1",
        localAddress,
      });
      socket.on("error", () => undefined);
      sockets.push(socket);
    };
    for (let count = 0; count < 400; count += 1) open("127.0.0.4");
    const refused = await eventually(
      "refusals",
      5000,
      () =>
        sidecar.metric(
          "wherry_refusals_total",
          'listener="link"',
          'reason="too many handshakes"',
        ),
      (count) => count >= 150,
    );
    t.equal(refused, 150, "a source has 250 of them at one time");
    t.equal(await handshake("127.0.0.5"), true, "another has room");
    for (const socket of sockets) socket.destroy();
    const { status } = await call(`http://127.0.0.1:${sidecar.published}/`, {
      headers: { host: "orders.shop" },
    });
    t.equal(status, 200);
  },
);
