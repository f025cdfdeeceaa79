/** The server name of a hello that real clients send, and of what is none. */
import { connect, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import t from "tap";
import {
  mayBeTls,
  readClientHello,
} from "../../../src/wire/tls/client-hello.ts";
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
  for (const [said, serverName, unreadable] of [
    ["orders.shop", "orders.shop", false],
    ["Orders.SHOP", "orders.shop", false],
    ["", undefined, false],
    // Who knows what a server makes of these.
    ["a b", undefined, true],
    ["a..b", undefined, true],
    ["orders:443", undefined, true],
  ] as const) {
    const record = await hello(said);
    const read = { serverName, unreadable };
    t.same(readClientHello(record), read, said);
    const more = Buffer.concat([record, Buffer.from("early data")]);
    t.same(readClientHello(more), read, "and what follows");
  }
});

void t.test("nothing is said of a record that is not whole", async (t) => {
  const record = await hello("orders.shop");
  for (let length = 0; length < record.length; length += 1)
    if (readClientHello(record.subarray(0, length)) !== undefined)
      t.fail(`${length} bytes of ${record.length}`);
  t.pass("none was read");
});

/** The hello in records of so many bytes, the last with the rest. */
function inRecords(record: Buffer, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  let rest = record.subarray(5);
  for (const size of [...sizes, Infinity]) {
    const part = rest.subarray(0, size);
    rest = rest.subarray(size);
    if (part.length === 0) continue;
    const head = Buffer.from(record.subarray(0, 5));
    head.writeUInt16BE(part.length, 3);
    parts.push(head, part);
  }
  return Buffer.concat(parts);
}

const UNREADABLE = { serverName: undefined, unreadable: true };
const NAMED = { serverName: "orders.shop", unreadable: false };

void t.test("a name is not hidden by how it is sent", async (t) => {
  const record = await hello("orders.shop");
  for (const sizes of [[1], [3], [4], [100], [1, 1, 1, 1, 1, 60]]) {
    const spread = inRecords(record, sizes);
    t.same(readClientHello(spread), NAMED, `records of ${sizes.join(", ")}`);
    for (let length = 0; length < spread.length; length += 1)
      if (readClientHello(spread.subarray(0, length)) !== undefined)
        t.fail(`${length} bytes of ${spread.length}`);
  }
  const version = Buffer.from(record);
  version[1] = 4;
  t.same(
    readClientHello(version),
    NAMED,
    "the version of a record says nothing",
  );
  const many = inRecords(record, Array(17).fill(1) as number[]);
  t.same(readClientHello(many), UNREADABLE, "many records");
  const empty = Buffer.concat([Buffer.from([22, 3, 1, 0, 0]), record]);
  t.same(readClientHello(empty), UNREADABLE, "an empty record");
  const alert = Buffer.from([21, 3, 1, 0, 2, 1, 90]);
  t.same(
    readClientHello(Buffer.concat([alert, record])),
    UNREADABLE,
    "an alert before it",
  );
  const between = inRecords(record, [10]);
  t.same(
    readClientHello(
      Buffer.concat([between.subarray(0, 15), alert, between.subarray(15)]),
    ),
    UNREADABLE,
    "an alert within it",
  );
  for (const first of [20, 21, 22, 23, 24])
    t.ok(mayBeTls(Buffer.from([first])));
  for (const first of [0, 19, 25, 0x47, 0x80])
    t.notOk(mayBeTls(Buffer.from([first])));
  t.notOk(mayBeTls(Buffer.alloc(0)));
});

/** The extension of the record, changed. */
function withNames(record: Buffer, change: (names: Buffer) => Buffer): Buffer {
  const at = record.indexOf("orders.shop", "latin1") - 9;
  const size = 4 + record.readUInt16BE(at + 2);
  const names = change(Buffer.from(record.subarray(at, at + size)));
  const more = names.length - size;
  const changed = Buffer.concat([
    record.subarray(0, at),
    names,
    record.subarray(at + size),
  ]);
  changed.writeUInt16BE(record.readUInt16BE(3) + more, 3);
  changed.writeUIntBE(record.readUIntBE(6, 3) + more, 6, 3);
  // Behind version, random, session, suites and compression.
  let all = 9 + 34;
  all += 1 + (record[all] ?? 0);
  all += 2 + record.readUInt16BE(all);
  all += 1 + (record[all] ?? 0);
  changed.writeUInt16BE(record.readUInt16BE(all) + more, all);
  return changed;
}

void t.test("a name that could be read in two ways is none", async (t) => {
  const record = await hello("orders.shop");
  const read = (change: (names: Buffer) => Buffer): unknown =>
    readClientHello(withNames(record, change));
  t.same(
    read((names) => names),
    NAMED,
  );
  t.same(
    read((names) => Buffer.concat([names, names])),
    UNREADABLE,
    "twice",
  );
  t.same(
    read((names) => {
      names[6] = 1;
      return names;
    }),
    UNREADABLE,
    "of another type",
  );
  t.same(
    read((names) => {
      names.writeUInt16BE(names.readUInt16BE(2) + 1, 2);
      return Buffer.concat([names, Buffer.alloc(1)]);
    }),
    UNREADABLE,
    "with a byte behind the list",
  );
  t.same(
    read((names) => {
      names.writeUInt16BE(200, 7);
      return names;
    }),
    UNREADABLE,
    "longer than its list",
  );
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
  t.equal(readClientHello(cut(record.length - 6)), undefined, "cut short");
  const long = Buffer.from(record);
  long.writeUInt16BE(16_385, 3);
  t.same(readClientHello(long), UNREADABLE, "over the limit");
  const other = Buffer.from(record);
  other[5] = 2;
  t.same(readClientHello(other), UNREADABLE, "another message");
  // Any octet of it may be another: nothing throws, and nothing is made up.
  for (let index = 5; index < record.length; index += 1) {
    const changed = Buffer.from(record);
    changed[index] = 0xff;
    const name = named(changed);
    if (name !== undefined && !/^[a-z0-9._~-]+$/.test(name)) t.fail(name);
  }
});
