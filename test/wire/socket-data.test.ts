/** What is read from a socket arrives whole and in order, also where it is stopped on the way, and without a tick for each chunk. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { onData } from "../../src/wire/socket-data.ts";

async function socketPair(): Promise<[Socket, Socket, () => void]> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("TCP");
  const client = connect(address.port, "127.0.0.1");
  const [accepted] = (await once(server, "connection")) as [Socket];
  const close = (): void => {
    client.destroy();
    accepted.destroy();
    server.close();
  };
  return [client, accepted, close];
}

void t.test("whole and in order, stopped after each chunk", async (t) => {
  const [sender, socket, close] = await socketPair();
  const sent = Buffer.alloc(3_000_000);
  for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
  const pieces: Buffer[] = [];
  onData(socket, (chunk) => {
    pieces.push(chunk);
    socket.pause();
    setImmediate(() => socket.resume());
  });
  sender.end(sent);
  await once(socket, "end");
  t.ok(pieces.length > 1, `${pieces.length} pieces`);
  t.ok(Buffer.concat(pieces).equals(sent));
  close();
});

void t.test("a chunk leaves no look for more behind it", async (t) => {
  const [sender, socket, close] = await socketPair();
  const state = (socket as unknown as { _readableState: object })
    ._readableState;
  t.match(state, { readingMore: false }, "Node still keeps it there");
  const got = new Promise<void>((resolve) => {
    onData(socket, () => resolve());
  });
  sender.write("x");
  await got;
  await new Promise((resolve) => void setImmediate(resolve));
  t.match(state, { readingMore: true });
  close();
});
