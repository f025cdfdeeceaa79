/** A long run of blanks inside a list-valued field, from a caller at every listener and from the application: the sidecar spends no more on it than on any field of that size. */
import { connect } from "node:net";
import t, { type Test } from "tap";
import { call, closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

/** Nearly all that a head may have. */
const BLANKS = " ".repeat(60_000);
/** Times what a field of that size costs which nothing reads, about a millisecond of CPU. Quadratic work took more than a thousand. */
const MOST = 5;
const TRIES = 5;

const FIELDS: readonly (readonly [name: string, value: string])[] = [
  ["Connection", `a${BLANKS}b`],
  ["Connection", `close,a${BLANKS}b,c`],
  ["TE", `a${BLANKS}b`],
  ["Proxy-Connection", `a${BLANKS}b`],
  ["Transfer-Encoding", `a${BLANKS}b`],
  ["Keep-Alive", `a${BLANKS}b`],
  ["Expect", `a${BLANKS}b`],
];

let said = "";
const sidecar = await startLoneSidecar((request, response) => {
  request.resume();
  if (request.url === "/blanks") {
    request.socket.end(
      `HTTP/1.1 200 OK\r\n${said}\r\ncontent-length: 0\r\n\r\n`,
    );
  } else response.end("ok");
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** Resolves with the status line once the other side has closed. */
function send(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(received.split("\r\n")[0] ?? ""));
  });
}

/** Milliseconds of CPU, the least of several: what else the process does in the meantime is in some of them. */
async function costOf(what: () => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let left = TRIES; left > 0; left -= 1) {
    const before = sidecar.loopCpu();
    await what();
    least = Math.min(least, sidecar.loopCpu() - before);
  }
  return least;
}

/** A request with that field. */
const costAt = (port: number, name: string, value: string): Promise<number> =>
  costOf(() =>
    send(
      port,
      `GET / HTTP/1.1\r\nHost: orders.shop\r\n${name}: ${value}\r\nConnection: close\r\n\r\n`,
    ),
  );

/** A response with it. */
const costFromApp = (name: string, value: string): Promise<number> => {
  said = `${name}: ${value}`;
  return costOf(() =>
    call(`http://127.0.0.1:${sidecar.published}/blanks`, {
      headers: { host: "orders.shop" },
    }),
  );
};

/** The same of a field that nothing reads. */
const UNREAD = ["X-Unread", `a${BLANKS}b`] as const;

function isLittle(t: Test, cost: number, unread: number): void {
  t.ok(
    cost < MOST * unread,
    `${cost.toFixed(1)} ms of CPU, and ${unread.toFixed(1)} ms for a field that nothing reads`,
  );
}

const LISTENERS = [
  { listener: "the published port", port: sidecar.published },
  { listener: "the outbound port", port: sidecar.outbound },
];

for (const { listener, port } of LISTENERS)
  for (const [name, value] of FIELDS)
    void t.test(
      `${name} with a run of blanks at ${listener} costs little CPU`,
      async (t) => {
        const unread = await costAt(port, ...UNREAD);
        isLittle(t, await costAt(port, name, value), unread);
      },
    );

for (const [name, value] of FIELDS)
  void t.test(
    `${name} with a run of blanks from the application costs little CPU`,
    async (t) => {
      const unread = await costFromApp(...UNREAD);
      isLittle(t, await costFromApp(name, value), unread);
    },
  );
