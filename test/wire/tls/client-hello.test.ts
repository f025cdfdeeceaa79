/** The server name of a hello that real clients send, and of what is none. */
import { connect, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import t from "tap";
import { readClientHello } from "../../../src/wire/tls/client-hello.ts";
import { listening } from "../../support/meshes/pair.ts";

/** The first record of Node's own client. */
async function hello(servername: string): Promise<Buffer> {
  const got = Promise.withResolvers<Buffer>();
  let bytes = Buffer.alloc(0);
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 5 || bytes.length < 5 + bytes.readUInt16BE(3)) return;
      got.resolve(bytes);
      socket.destroy();
    });
  });
  const socket = connect(await listening(server), "127.0.0.1");
  const tls = connectTls({ socket, servername, rejectUnauthorized: false });
  tls.on("error", () => undefined);
  const record = await got.promise;
  tls.destroy();
  server.close();
  return record;
}

void t.test("the name that a client says", async (t) => {
  for (const [said, expected] of [
    ["orders.shop", "orders.shop"],
    ["Orders.SHOP", "orders.shop"],
    ["", undefined],
    ["a b", undefined],
    ["a..b", undefined],
    ["orders:443", undefined],
  ] as const) {
    const record = await hello(said);
    t.same(readClientHello(record), { serverName: expected }, said);
    const more = Buffer.concat([record, Buffer.from("early data")]);
    t.same(readClientHello(more), { serverName: expected }, "and what follows");
  }
});

void t.test("nothing is said of a record that is not whole", async (t) => {
  const record = await hello("orders.shop");
  for (let length = 0; length < record.length; length += 1)
    if (readClientHello(record.subarray(0, length)) !== undefined)
      t.fail(`${length} bytes of ${record.length}`);
  t.pass("none was read");
});

void t.test("what is no hello has no name", async (t) => {
  const record = await hello("orders.shop");
  const named = (bytes: Buffer): string | undefined =>
    readClientHello(bytes)?.serverName;
  /** The first bytes of it, as a record of its own. */
  const cut = (length: number): Buffer => {
    const short = Buffer.from(record.subarray(0, 5 + length));
    short.writeUInt16BE(length, 3);
    return short;
  };
  const at = record.indexOf("orders.shop", "latin1");
  for (let length = 0; length < at - 5; length += 1)
    if (named(cut(length)) !== undefined) t.fail(`a record of ${length} bytes`);
  const long = Buffer.from(record);
  long.writeUInt16BE(16_385, 3);
  t.same(readClientHello(long), { serverName: undefined }, "over the limit");
  const other = Buffer.from(record);
  other[5] = 2;
  t.equal(named(other), undefined, "another message");
  // Any octet of it may be another: nothing throws, and nothing is made up.
  for (let index = 5; index < record.length; index += 1) {
    const changed = Buffer.from(record);
    changed[index] = 0xff;
    const name = named(changed);
    if (name !== undefined && !/^[a-z0-9._~-]+$/.test(name)) t.fail(name);
  }
});
