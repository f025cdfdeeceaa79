/** Other ways to have a sidecar of 256 MiB hold what nobody takes: each stays within the same bound, others are served, and all is let go. */
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

/** What sockets bring before they are stopped: a read of 4 KiB of each connection, of as many of callers and endpoints as there are here. */
const BROUGHT = 3000 * 4096;
/** Looks at it while it lasts, each with a call of somebody else. */
const LOOKS = 60;

const SMALL = Buffer.alloc(12_000);
const [HEADERS, SETTINGS, CONTINUATION] = [1, 4, 9];
const [END_STREAM, END_HEADERS] = [1, 4];
const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);
/** GET http://orders.shop/small (RFC 7541 appendix A). */
const REQUEST = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x04, 6]),
  Buffer.from("/small"),
  Buffer.from([0x01, 11]),
  Buffer.from("orders.shop"),
]);
const HTTP2 = Buffer.concat([
  PREFACE,
  frame(SETTINGS, 0, 0, NO_WINDOW),
  frame(SETTINGS, 1, 0),
]);

interface Attack {
  readonly name: string;
  readonly connections: number;
  /** What each of them says. */
  readonly says: Buffer;
  /** Reads nothing, rather than all but DATA. */
  readonly deaf: boolean;
}

const ATTACKS: readonly Attack[] = [
  {
    name: "requests sent ahead in HTTP/1.1, whose responses nobody reads",
    connections: 100,
    says: Buffer.from(
      "GET /small HTTP/1.1\r\nHost: orders.shop\r\n\r\n".repeat(1000),
    ),
    deaf: true,
  },
  {
    name: "whole responses in HTTP/2 that get no window",
    connections: 10,
    says: Buffer.concat([
      HTTP2,
      ...Array.from({ length: 900 }, (_, index) =>
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, REQUEST),
      ),
    ]),
    deaf: false,
  },
  {
    name: "heads in HTTP/1.1 without an end",
    connections: 900,
    says: Buffer.from(
      `GET / HTTP/1.1\r\nHost: orders.shop\r\nX-Long: ${"x".repeat(60_000)}`,
    ),
    deaf: false,
  },
  {
    name: "field blocks in HTTP/2 without an end",
    connections: 500,
    says: Buffer.concat([
      HTTP2,
      frame(HEADERS, END_STREAM, 1, REQUEST),
      ...Array.from({ length: 7 }, () =>
        frame(CONTINUATION, 0, 1, Buffer.alloc(16_000)),
      ),
    ]),
    deaf: false,
  },
];

function open(port: number, { says, deaf }: Attack, index: number): Socket {
  const socket = connect({
    port,
    host: "127.0.0.1",
    // Each of ten from an address of its own: one address has bounds of its own.
    localAddress: `127.0.0.${2 + (index % 10)}`,
  });
  socket.on("error", () => undefined);
  if (deaf) socket.pause();
  else socket.resume();
  socket.write(says);
  return socket;
}

for (const attack of ATTACKS)
  void t.test(attack.name, { timeout: 120_000 }, async (t) => {
    const { sidecar, quiet, served, recovered } = await startSmallSidecar(
      t,
      "/small",
      SMALL,
    );
    const sockets = Array.from({ length: attack.connections }, (_, index) =>
      open(sidecar.published, attack, index),
    );
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
    });
    let held = 0;
    let highest = quiet;
    let good = 0;
    let looks = 0;
    await eventually(
      "others are served",
      60_000,
      async () => {
        if ((await served()) === 200) good += 1;
        held = Math.max(held, await sidecar.metric("wherry_buffered_bytes"));
        highest = Math.max(highest, sidecar.resident());
        looks += 1;
        return good >= 20 && looks >= LOOKS;
      },
      (enough) => enough,
    );
    t.ok(held <= HELD + BROUGHT, `${held} bytes held`);
    t.ok(
      highest - quiet < GROWTH,
      `resident memory grew by ${(highest - quiet) / MIB} MiB`,
    );
    for (const socket of sockets) socket.destroy();
    await recovered();
  });
