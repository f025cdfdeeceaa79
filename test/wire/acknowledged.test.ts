/** What the kernel knows of the other end's. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { acknowledgedAgo } from "../../src/wire/acknowledged.ts";
import { eventually } from "../support/peers/call.ts";

void t.test(
  "a process that reads nothing has a kernel that acknowledges",
  { skip: process.platform !== "linux" },
  async (t) => {
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { readonly port: number };
    const socket = connect(port, "127.0.0.1");
    const [peer] = (await once(server, "connection")) as [Socket];
    t.teardown(() => {
      socket.destroy();
      peer.destroy();
      server.close();
    });
    const ago = (): number => acknowledgedAgo(socket) ?? Number.NaN;
    await eventually(
      "nothing comes, and time goes by",
      10_000,
      () => Promise.resolve(ago()),
      (ms) => ms >= 200,
    );
    const before = performance.now();
    socket.write("anything");
    await eventually(
      "it is acknowledged",
      10_000,
      () => Promise.resolve({ ms: ago(), since: performance.now() - before }),
      // The kernel's clock goes in ticks.
      ({ ms, since }) => ms <= since + 10,
    );
    socket.destroy();
    t.equal(acknowledgedAgo(socket), undefined, "of one that is gone");
  },
);
