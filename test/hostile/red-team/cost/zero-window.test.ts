/** Streams without a window at a sidecar of 256 MiB: what it holds stays bounded, others are served, and all is given back at the end. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { eventually } from "../../../support/peers/call.ts";
import {
  GROWTH,
  HELD,
  MIB,
  startSmallSidecar,
} from "../../../support/processes/small-sidecar.ts";
import { frame } from "../../../support/hostile/attacks.ts";

const CONNECTIONS = 10;
const STREAMS = 900;
/** What sockets bring before they are stopped: a read of 4 KiB of each endpoint's connection, of as many as may be at one time. */
const BROUGHT = 2048 * 4096;
/** Calls of others that are answered while it lasts. */
const GOOD = 100;
/** Calls between two looks. */
const AT_A_TIME = 5;

const LARGE = Buffer.alloc(MIB);

/** GET http://orders.shop/large (RFC 7541 appendix A). */
const REQUEST = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x04, 6]),
  Buffer.from("/large"),
  Buffer.from([0x01, 11]),
  Buffer.from("orders.shop"),
]);
const [HEADERS, SETTINGS] = [1, 4];
const END = 1 | 4;
const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);

/** A connection that asks `STREAMS` times and takes nothing. */
function attack(port: number, index: number): Socket {
  // Each from an address of its own: one address has bounds of its own.
  const localAddress = `127.0.0.${2 + index}`;
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(
    Buffer.concat([
      PREFACE,
      frame(SETTINGS, 0, 0, NO_WINDOW),
      frame(SETTINGS, 1, 0),
      ...Array.from({ length: STREAMS }, (_, index) =>
        frame(HEADERS, END, 2 * index + 1, REQUEST),
      ),
    ]),
  );
  return socket;
}

void t.test(
  `${CONNECTIONS} connections of ${STREAMS} streams without a window: held bytes and resident memory stay bounded, service goes on, and all is given back`,
  { timeout: 120_000 },
  async (t) => {
    const { sidecar, quiet, served, recovered } = await startSmallSidecar(
      t,
      "/large",
      LARGE,
    );
    const sockets: Socket[] = [];
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
    });
    for (let index = 0; index < CONNECTIONS; index += 1)
      sockets.push(attack(sidecar.published, index));

    let highest = quiet;
    let held = 0;
    let good = 0;
    await eventually(
      "what stood still for longest makes room, and others are served",
      30_000,
      async () => {
        for (let call = 0; call < AT_A_TIME; call += 1)
          if ((await served()) === 200) good += 1;
        highest = Math.max(highest, sidecar.resident());
        held = Math.max(held, await sidecar.metric("wherry_buffered_bytes"));
        const told = sidecar.log.some((line) => line.includes("to make room"));
        return { told, good, growth: highest - quiet };
      },
      ({ told, good, growth }) => (told && good >= GOOD) || growth > GROWTH,
    );
    t.ok(held <= HELD + BROUGHT, `${held} bytes held`);
    t.ok(
      highest - quiet < GROWTH,
      `resident memory grew by ${(highest - quiet) / MIB} MiB`,
    );
    for (const socket of sockets) socket.destroy();
    await recovered();
  },
);
