/** Readers that stop in the midst of large responses: they hold up nobody but themselves, on the link between two sidecars. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { eventually } from "../../../support/peers/call.ts";
import { withPair } from "../../../support/meshes/pair.ts";

const MIB = 1_048_576;
/** More than the kernel takes of one response on its way, in both of its buffers. */
const LARGE = Buffer.alloc(16 * MIB);
const READERS = 100;
const CALLS = 50;

function stalledReader(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  socket.write("GET /large HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
  // The head has come, and then it reads no more.
  socket.once("data", () => socket.pause());
  return socket;
}

void t.test(
  `${READERS} readers stall, and ${CALLS} other calls between the same two sidecars are answered meanwhile`,
  { timeout: 60_000 },
  async (t) => {
    await withPair(
      {
        app: () => (request, response) => {
          request.resume();
          response.end(request.url === "/large" ? LARGE : "ok");
        },
      },
      async (pair) => {
        const readers = Array.from({ length: READERS }, () =>
          stalledReader(pair.caller.ports.outbound ?? 0),
        );
        t.teardown(() => {
          for (const socket of readers) socket.destroy();
        });
        await eventually(
          "all readers have begun to read",
          30_000,
          () => Promise.resolve(readers.map(({ bytesRead }) => bytesRead)),
          (read) => read.every((bytes) => bytes > 0),
        );
        // The first of them come while the readers' responses still fill what there is to fill.
        for (let index = 0; index < CALLS; index += 1)
          t.equal((await pair.call()).status, 200);
        t.ok(
          readers.every(({ destroyed }) => !destroyed),
          "nobody has been cut off",
        );
      },
    );
  },
);
