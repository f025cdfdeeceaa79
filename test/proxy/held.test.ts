/** What is held for one request: at most 1 MiB in each sidecar for a request that sent 10 KiB, whatever its answer. */
import { connect } from "node:net";
import t from "tap";
import { withPair } from "../support/meshes/pair.ts";

const MIB = 1_048_576;
const REQUEST = Buffer.alloc(10 * 1024);

for (const linkProtocol of ["h2", "http/1.1"] as const)
  void t.test(
    `an answer of 64 MiB that nobody reads, over ${linkProtocol}: at most 1 MiB is held in each sidecar`,
    { timeout: 60_000 },
    async (t) => {
      const answer = Buffer.alloc(64 * MIB);
      await withPair(
        {
          linkProtocol,
          app: () => (request, response) => {
            request.resume();
            request.on("end", () => response.end(answer));
          },
        },
        async (pair) => {
          const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
          socket.on("error", () => undefined);
          socket.pause();
          socket.write(
            `POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: ${REQUEST.length}\r\n\r\n`,
          );
          socket.write(REQUEST);
          const most = [0, 0];
          // It stands still when all buffers are full: what is held then is there at each look.
          for (let still = 0, last = -1; still < 5;) {
            await new Promise((resolve) => setTimeout(resolve, 300));
            const held = [
              await pair.metric(pair.caller, "wherry_buffered_bytes"),
              await pair.metric(pair.callee, "wherry_buffered_bytes"),
            ];
            held.forEach((octets, side) => {
              most[side] = Math.max(most[side] ?? 0, octets);
            });
            const sum = (held[0] ?? 0) + (held[1] ?? 0);
            still = sum > 0 && sum === last ? still + 1 : 0;
            last = sum;
          }
          t.comment(`caller ${most[0]}, callee ${most[1]} octets`);
          for (const octets of most) {
            t.ok(octets > 0, "it is held, and seen");
            t.ok(octets <= MIB, `${octets} octets`);
          }
          socket.destroy();
        },
      );
    },
  );
