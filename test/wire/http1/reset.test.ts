/** Breaking a connection off ends it, whatever state it is in. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { reset } from "../../../src/wire/sockets.ts";
import { listening } from "../../support/meshes/pair.ts";

void t.test("a socket is closed by a reset", async (t) => {
  for (const { name, before } of [
    { name: "that is open", before: () => undefined },
    { name: "whose FIN is on its way", before: (s: Socket) => void s.end("x") },
    { name: "that was destroyed", before: (s: Socket) => void s.destroy() },
  ]) {
    const server = createServer({ allowHalfOpen: true });
    const port = await listening(server);
    const client = connect({ port, host: "127.0.0.1" });
    client.on("error", () => undefined);
    client.resume();
    const [socket] = (await once(server, "connection")) as [Socket];
    socket.on("error", () => undefined);
    const closed = new Promise<void>((resolve) =>
      socket.on("close", () => resolve()),
    );
    before(socket);
    reset(socket);
    await closed;
    t.pass(name);
    server.close();
  }
});
