/** What is read from a socket arrives whole and in order, also where it is stopped on the way, without a tick and a buffer of 64 KiB for each chunk. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { madeBytes } from "../../src/runtime/collecting.ts";
import { onData, USUAL_READ } from "../../src/runtime/socket-data.ts";
import { connectLink } from "../../src/wire/tls/connect.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { connecting, testLink } from "../support/peers/link.ts";

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

async function tlsPair(): Promise<[Socket, Socket, () => void]> {
  const authority = fakeAuthority();
  const link = await testLink(authority.credentials("orders"));
  const to = connecting(
    authority.credentials("web"),
    authority.credentials("orders"),
  );
  const { socket } = await connectLink(to(link.port));
  await link.settled(1);
  const [accepted] = link.accepted;
  if (accepted === undefined) throw new Error("not let in");
  accepted.socket.removeAllListeners("data");
  const close = (): void => {
    socket.destroy();
    link.close();
  };
  return [socket, accepted.socket, close];
}

const PAIRS = [
  ["TCP", socketPair],
  ["TLS", tlsPair],
] as const;

for (const [transport, pair] of PAIRS) {
  void t.test(
    `${transport}: whole and in order, stopped after each chunk, and nothing comes until it goes on`,
    async (t) => {
      const [sender, socket, close] = await pair();
      const sent = Buffer.alloc(3_000_000);
      for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
      const pieces: Buffer[] = [];
      let early = 0;
      onData(socket, (chunk) => {
        if (socket.isPaused()) early += 1;
        pieces.push(chunk);
        socket.pause();
        setImmediate(() => socket.resume());
      });
      sender.end(sent);
      await once(socket, "end");
      t.ok(pieces.length > 1, `${pieces.length} pieces`);
      t.ok(Buffer.concat(pieces).equals(sent));
      t.equal(early, 0);
      close();
    },
  );

  void t.test(
    `${transport}: small and large chunks in turn stay what they were, and small ones do not keep 64 KiB each`,
    async (t) => {
      const [sender, socket, close] = await pair();
      const pieces: Buffer[] = [];
      let octets = 0;
      let wanted = 0;
      let arrived = (): void => undefined;
      onData(socket, (chunk) => {
        pieces.push(chunk);
        octets += chunk.length;
        if (octets === wanted) arrived();
      });
      const sent: Buffer[] = [];
      for (const size of [100, 3, 200_000, 5, 9000, 20_000, 1, 70_000, 2]) {
        const message = Buffer.alloc(size, sent.length + 1);
        sent.push(message);
        wanted += size;
        const whole = new Promise<void>((resolve) => {
          arrived = resolve;
        });
        sender.write(message);
        await whole;
      }
      t.ok(Buffer.concat(pieces).equals(Buffer.concat(sent)));
      for (const piece of pieces.filter(({ length }) => length < 1000))
        t.ok(
          piece.buffer.byteLength <= 8 * 1024,
          `${piece.length} octets in ${piece.buffer.byteLength}: Node still takes a buffer of ours`,
        );
      close();
    },
  );
}

void t.test(
  "TCP: what comes fast is read in larger pieces, as long as there is room for them, and the room is given back",
  async (t) => {
    for (const [room, largest] of [
      [8, 262_144],
      [3, 65_536],
    ] as const) {
      const [sender, socket, close] = await socketPair();
      let used = 0;
      const buffers = {
        readBytes: USUAL_READ,
        roomy: true,
        promise: () => undefined,
        large: (times: number) => {
          if (used + times > room) return false;
          used += times;
          return true;
        },
        small: (times: number) => void (used -= times),
      };
      const sent = Buffer.alloc(8_000_000);
      for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
      const pieces: Buffer[] = [];
      // All of it waits in the kernel, as far as that takes it, before each read.
      onData(
        socket,
        (chunk) => {
          pieces.push(chunk);
          socket.pause();
          setImmediate(() => setImmediate(() => socket.resume()));
        },
        buffers,
      );
      const closed = once(socket, "close");
      sender.end(sent);
      await once(socket, "end");
      t.ok(Buffer.concat(pieces).equals(sent));
      const most = Math.max(...pieces.map(({ length }) => length));
      t.ok(most <= largest, `${most} of ${largest}`);
      if (largest > 65_536) t.ok(most > 65_536, `${most} at once`);
      socket.destroy();
      await closed;
      t.equal(used, 0);
      close();
    }
  },
);

void t.test(
  "what is read by copy leaves no buffer behind, and what a large body is read into is counted",
  async (t) => {
    const [sender, socket, close] = await socketPair();
    let octets = 0;
    let wanted = 0;
    let arrived = (): void => undefined;
    onData(socket, (chunk) => {
      octets += chunk.length;
      if (octets === wanted) arrived();
    });
    const send = async (bytes: number): Promise<number> => {
      const before = madeBytes();
      wanted += bytes;
      const whole = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      sender.write(Buffer.alloc(bytes));
      await whole;
      return madeBytes() - before;
    };
    for (let body = 0; body < 100; body++) t.equal(await send(4096), 0);
    const large = await send(2_000_000);
    t.ok(large > 1_000_000, `${large} octets of buffers`);
    close();
  },
);

void t.test(
  "TCP: a socket that is stopped has no large buffer ready, gets one again once it goes on, and none without room",
  async (t) => {
    const [sender, socket, close] = await socketPair();
    let ready = 0;
    let used = 0;
    const buffers = {
      readBytes: USUAL_READ,
      roomy: true,
      promise: (bytes: number) => void (ready += bytes),
      large(times: number) {
        used += times;
        return true;
      },
      small: (times: number) => void (used -= times),
    };
    const sent = Buffer.alloc(8_000_000);
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
    const pieces: Buffer[] = [];
    /** Bytes that may come in the next read, while the last piece of a large buffer waits. */
    const whileStopped: number[] = [];
    onData(
      socket,
      (chunk) => {
        pieces.push(chunk);
        socket.pause();
        setImmediate(() => {
          const { buffer, byteOffset, length } = chunk;
          const left = buffer.byteLength - byteOffset - length;
          if (buffer.byteLength === 262_144 && left < 48 * 1024)
            whileStopped.push(ready);
          buffers.roomy = whileStopped.length < 4;
          setImmediate(() => socket.resume());
        });
      },
      buffers,
    );
    sender.end(sent);
    await once(socket, "end");
    t.ok(Buffer.concat(pieces).equals(sent));
    t.strictSame(
      whileStopped,
      Array.from({ length: 4 }, () => USUAL_READ),
    );
    t.equal(used, 0);
    close();
  },
);

void t.test("TCP: eight sockets at most read large pieces", async (t) => {
  let large = 0;
  let most = 0;
  const buffers = {
    readBytes: USUAL_READ,
    roomy: true,
    promise: () => undefined,
    large(times: number) {
      if (times > 1) most = Math.max(most, (large += 1));
      return true;
    },
    small(times: number) {
      if (times > 1) large -= 1;
    },
  };
  const sent = Buffer.alloc(2_000_000);
  const read = async (): Promise<void> => {
    const [sender, socket, close] = await socketPair();
    onData(
      socket,
      () => {
        socket.pause();
        setImmediate(() => setImmediate(() => socket.resume()));
      },
      buffers,
    );
    const closed = once(socket, "close");
    sender.end(sent);
    await once(socket, "end");
    socket.destroy();
    await closed;
    close();
  };
  await Promise.all(Array.from({ length: 12 }, read));
  t.equal(most, 8);
  t.equal(large, 0);
  // What was given up is to be had again.
  most = 0;
  await Promise.all(Array.from({ length: 12 }, read));
  t.equal(most, 8);
  t.equal(large, 0);
});

void t.test("what waits from before comes first", async (t) => {
  const [sender, socket, close] = await socketPair();
  socket.pause();
  socket.unshift(Buffer.from("first "));
  let text = "";
  const whole = new Promise<void>((resolve) => {
    onData(socket, (chunk) => {
      text += chunk.toString();
      if (text.length === 11) resolve();
    });
  });
  sender.write("later");
  await new Promise((resolve) => void setImmediate(resolve));
  t.equal(text, "", "it was stopped before");
  socket.resume();
  await whole;
  t.equal(text, "first later");
  close();
});

void t.test("a user that throws gets no more", async (t) => {
  const [sender, socket, close] = await socketPair();
  const defect = new Error("thrown on purpose");
  const caught = new Promise((resolve) => {
    process.once("uncaughtException", resolve);
  });
  onData(socket, () => {
    throw defect;
  });
  sender.on("error", () => undefined);
  sender.write("x");
  t.equal(await caught, defect);
  t.ok(socket.destroyed);
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
