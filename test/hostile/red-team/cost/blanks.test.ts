/** A long run of blanks inside a list-valued field, from a caller at every listener and from the application: the sidecar spends no more on it than on any field of that size. */
import { connect } from "node:net";
import t from "tap";
import { call, closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

/** Nearly all that a head may have. */
const BLANKS = " ".repeat(60_000);
/** Milliseconds of CPU: a head of 60 KB takes about one. Quadratic work on it took more than a thousand. */
const BOUND = 500;

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

async function costOf(what: () => Promise<unknown>): Promise<number> {
  const before = sidecar.cpu();
  await what();
  return sidecar.cpu() - before;
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
        const cost = await costOf(() =>
          send(
            port,
            `GET / HTTP/1.1\r\nHost: orders.shop\r\n${name}: ${value}\r\nConnection: close\r\n\r\n`,
          ),
        );
        t.ok(cost < BOUND, `${cost} ms of CPU`);
      },
    );

for (const [name, value] of FIELDS)
  void t.test(
    `${name} with a run of blanks from the application costs little CPU`,
    async (t) => {
      said = `${name}: ${value}`;
      const cost = await costOf(() =>
        call(`http://127.0.0.1:${sidecar.published}/blanks`, {
          headers: { host: "orders.shop" },
        }),
      );
      t.ok(cost < BOUND, `${cost} ms of CPU`);
    },
  );
