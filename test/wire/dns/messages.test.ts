/** Messages of DNS: what is a question, what a reply carries back, and what no bytes may do. */
import t from "tap";
import {
  askedAnew,
  fitted,
  isReplyTo,
  makeReply,
  passedOn,
  RCODE,
  readMessage,
  type Question,
} from "../../../src/wire/dns/messages.ts";
import { MessageReader, framed } from "../../../src/wire/dns/stream.ts";
import { nameServersIn } from "../../../src/wire/dns/resolv-conf.ts";
import {
  question,
  read,
  replyTo,
  summary,
} from "../../support/dns/questions.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

function asked(bytes: Buffer): Question {
  const message = readMessage(bytes);
  if (message.kind !== "question") throw new Error(message.kind);
  return message.question;
}

void t.test("a question is read", (t) => {
  const plain = asked(question("Orders.Shop", "A"));
  t.equal(plain.name, "Orders.Shop", "as it was asked");
  t.equal(plain.host, "orders.shop", "as hosts are known");
  t.match(plain, { type: 1, class: 1, opcode: 0, size: 512, edns: false });
  t.match(asked(question("a.b", "AAAA", { size: 4096 })), {
    ...{ type: 28, size: 4096, edns: true },
  });
  t.equal(asked(question("a.b", "A", { size: 100 })).size, 512, "512 at least");
  t.equal(asked(question(".", "NS")).host, undefined, "the root is no host");
  t.equal(asked(question("a b.c", "A")).host, undefined);
  const port = asked(question("orders:80", "A"));
  t.equal(port.host, undefined, "a label is not read as a port");
  t.end();
});

void t.test("a dot within a label makes no other name of it", (t) => {
  const bytes = question("ordersxshop", "A");
  bytes.write(".", 12 + 1 + 6, "latin1");
  t.equal(asked(bytes).host, undefined);
  t.end();
});

void t.test("what is no question", (t) => {
  const whole = question("orders.shop", "A", { size: 1232 });
  const edited = (edit: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(whole);
    edit(bytes);
    return bytes;
  };
  const cases: readonly [string, Buffer, string][] = [
    ["nothing", Buffer.alloc(0), "no question"],
    ["half a header", whole.subarray(0, 11), "no question"],
    ["a reply", edited((bytes) => (bytes[2] = 0x80)), "no question"],
    ["a header alone", whole.subarray(0, 12), "malformed"],
    ["half a name", whole.subarray(0, 18), "malformed"],
    ["half an OPT record", whole.subarray(0, -3), "malformed"],
    ["two questions", edited((bytes) => (bytes[5] = 2)), "malformed"],
    ["an answer in it", edited((bytes) => (bytes[7] = 1)), "malformed"],
    ["many records", edited((bytes) => (bytes[10] = 9)), "malformed"],
    ["a pointer", edited((bytes) => (bytes[12] = 0xc0)), "malformed"],
    [
      "over 4096 bytes",
      Buffer.concat([whole, Buffer.alloc(5000)]),
      "malformed",
    ],
  ];
  for (const [name, bytes, expected] of cases)
    t.equal(readMessage(bytes).kind, expected, name);
  const refused = readMessage(edited((bytes) => (bytes[5] = 2)));
  t.ok(refused.kind === "malformed" && summary(refused.reply) === "FORMERR");
  t.end();
});

void t.test("a reply carries the question back", (t) => {
  const own = asked(question("oRDers.shop", "A", { id: 77, size: 4096 }));
  const reply = read(
    makeReply(own, RCODE.NOERROR, [{ type: "A", data: "240.240.1.2", ttl: 5 }]),
  );
  t.match(reply, { id: 77, rcode: "NOERROR", flag_qr: true });
  t.match(reply.questions, [{ name: "oRDers.shop", type: "A" }]);
  t.match(reply.answers, [
    { name: "oRDers.shop", type: "A", ttl: 5, data: "240.240.1.2" },
  ]);
  t.match(reply.additionals, [{ type: "OPT", udpPayloadSize: 1232 }]);
  const plain = read(makeReply(asked(question("x.y", "A")), RCODE.NXDOMAIN));
  t.equal(plain.rcode, "NXDOMAIN");
  t.equal(plain.additionals.length, 0, "no OPT where none was asked");
  t.end();
});

void t.test("another server's reply", (t) => {
  const own = asked(question("ExAmple.org", "A", { id: 7, size: 4096 }));
  const out = askedAnew(own, 999);
  t.match(read(out), { id: 999, additionals: [{ udpPayloadSize: 1232 }] });
  const reply = replyTo(out, { addresses: ["192.0.2.1"] });
  t.ok(isReplyTo(reply, own, 999));
  t.notOk(isReplyTo(reply, own, 998), "another number");
  t.notOk(isReplyTo(out, own, 999), "a question");
  t.notOk(isReplyTo(reply.subarray(0, 14), own, 999), "half of it");
  const other = replyTo(question("example.com", "A", { id: 999 }));
  t.notOk(isReplyTo(other, own, 999), "another name");
  const lower = Buffer.from(
    replyTo(askedAnew(asked(question("example.org", "A")), 999)),
  );
  t.ok(isReplyTo(lower, own, 999), "in other upper and lower case");
  const passed = read(passedOn(lower, own));
  t.match(passed, { id: 7, questions: [{ name: "ExAmple.org" }] });
  t.end();
});

void t.test("a datagram is as long as its asker takes", (t) => {
  const addresses = Array.from(
    { length: 40 },
    (_, index) => `192.0.2.${index}`,
  );
  for (const [size, cut] of [
    [undefined, true],
    [1232, true],
    [4096, false],
  ] as const) {
    const bytes = question("many.example.org", "A", size && { size });
    const reply = fitted(replyTo(bytes, { addresses }), asked(bytes));
    t.equal(read(reply).flag_tc, cut, `${size ?? 512} bytes`);
    t.equal(read(reply).answers.length, cut ? 0 : 40);
  }
  t.end();
});

void t.test("no bytes make it fail", (t) => {
  const random = seededRandom(7);
  const below = (end: number): number => Math.floor(random() * end);
  const kinds: Record<string, number> = {};
  for (let round = 0; round < 5000; round += 1) {
    const bytes =
      round % 2 === 0
        ? Buffer.from(question("orders.shop.svc", "A", { size: 1232 }))
        : Buffer.alloc(below(80));
    for (let edits = below(round % 2 === 0 ? 4 : 80); edits > 0; edits -= 1)
      bytes[below(bytes.length)] = below(256);
    const message = readMessage(
      bytes.subarray(0, below(3) === 0 ? below(bytes.length) : undefined),
    );
    kinds[message.kind] = (kinds[message.kind] ?? 0) + 1;
    if (message.kind === "malformed") read(message.reply);
    if (message.kind !== "question") continue;
    const own = message.question;
    const reply = makeReply(own, RCODE.SERVFAIL);
    if (!reply.subarray(12, own.end).equals(own.bytes.subarray(12, own.end)))
      t.fail(`the question is not as it was: ${bytes.toString("hex")}`);
    askedAnew(own, 1);
    fitted(reply, own);
  }
  t.ok((kinds["question"] ?? 0) > 300 && (kinds["malformed"] ?? 0) > 300);
  t.end();
});

void t.test("messages on a connection, in any pieces", (t) => {
  const sent = ["one.example", "two.example", "three.example"].map((name) =>
    question(name, "A"),
  );
  const stream = Buffer.concat(sent.map(framed));
  for (const size of [1, 2, 3, 7, 50, stream.length]) {
    const received: Buffer[] = [];
    const reader = new MessageReader(512, (message) => received.push(message));
    for (let at = 0; at < stream.length; at += size)
      t.ok(reader.read(stream.subarray(at, at + size)));
    t.same(received, sent, `pieces of ${size}`);
  }
  const reader = new MessageReader(512, () => t.fail("too long"));
  t.notOk(reader.read(framed(Buffer.alloc(513))), "one that is too long");
  t.end();
});

void t.test("the name servers of resolv.conf", (t) => {
  const text =
    "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n" +
    "nameserver\t2001:DB8::1\nnameserver fe80::1%eth0\nnameserver nonsense\n" +
    "nameserver 192.0.2.1\nnameserver 127.0.0.53 \nnameserver 192.0.2.4\n";
  t.same(nameServersIn(text), ["192.0.2.1", "2001:db8::1", "127.0.0.53"]);
  t.same(nameServersIn(""), []);
  t.end();
});
