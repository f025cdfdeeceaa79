import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import {
  assembleResponse,
  deltaRequest,
  encodeClosing,
  encodePacked,
  encodeResource,
  lookup,
  observed,
  outside,
  pushedResource,
  readHead,
  readParts,
  reportRequest,
  revision,
  type Codec,
} from "../../src/push/codec.ts";
import type { DeltaRequest, Revision } from "../../src/push/messages.ts";
import { PACKED_TYPE } from "../../src/push/names.ts";
import { LONGEST_PACKED, MOST_UNPACKED } from "../../src/push/packing.ts";
import { deltaResponse } from "../support/control-plane/delta-response.ts";

const EMPTY: DeltaRequest = {
  node: undefined,
  typeUrl: "",
  subscribe: [],
  unsubscribe: [],
  initialVersions: new Map(),
  nonce: "",
  error: undefined,
};

void t.test("a request comes back as it was", (t) => {
  const request: DeltaRequest = {
    node: { id: "shop/web-1", metadata: { "wherry.schema": "1" } },
    typeUrl: "type.googleapis.com/wherry.push.v1.Resource",
    subscribe: ["*"],
    unsubscribe: ["a"],
    initialVersions: new Map([
      ["Service/shop/web", "12"],
      ["__proto__", "13"],
    ]),
    nonce: "7",
    error: { code: 3, message: "no" },
  };
  t.same(deltaRequest.decode(deltaRequest.encode(request)), request);
  t.end();
});

void t.test("many small fields are refused before any of them is read", (t) => {
  const fields = (count: number, tag: number): Buffer =>
    Buffer.alloc(2 * count, Buffer.from([tag, 0]));
  const rows: readonly (readonly [string, Codec<unknown>, number, number])[] = [
    ["subscriptions", deltaRequest, 200_000, 0x1a],
    ["versions", deltaRequest, 200_000, 0x2a],
    ["calls", observed, 1025, 0x0a],
    ["calls outside", outside, 1025, 0x0a],
    ["reports", reportRequest, 4096, 0x0a],
  ];
  for (const [what, codec, most, tag] of rows) {
    codec.decode(fields(most, tag));
    t.throws(
      () => codec.decode(fields(most + 1, tag)),
      { message: `more than ${most} fields` },
      what,
    );
  }
  const node = { id: "x".repeat(65_536), metadata: {} };
  const long = deltaRequest.encode({ ...EMPTY, node });
  t.throws(() => deltaRequest.decode(long), { message: /is longer than/ });
  t.end();
});

void t.test("a message without fields has every default", (t) => {
  t.same(deltaRequest.decode(Buffer.alloc(0)), EMPTY);
  t.end();
});

void t.test(
  "field numbers are Envoy's (envoy/service/discovery/v3/discovery.proto)",
  (t) => {
    const lengthDelimited = (field: number): number => (field << 3) | 2;
    const text = (field: number, value: string): number[] => [
      lengthDelimited(field),
      value.length,
      ...Buffer.from(value),
    ];
    const nested = (field: number, content: number[]): number[] => [
      lengthDelimited(field),
      content.length,
      ...content,
    ];
    const value = nested(2, [...text(1, "k"), ...nested(2, text(3, "v"))]);
    for (const [bytes, expected] of [
      [
        nested(1, [...text(1, "n"), ...nested(3, value.with(0, 10))]),
        { node: { id: "n", metadata: { k: "v" } } },
      ],
      [text(2, "t"), { typeUrl: "t" }],
      [text(3, "*"), { subscribe: ["*"] }],
      [text(4, "u"), { unsubscribe: ["u"] }],
      [
        nested(5, [...text(1, "a"), ...text(2, "1")]),
        { initialVersions: new Map([["a", "1"]]) },
      ],
      [text(6, "7"), { nonce: "7" }],
      [
        nested(7, [8, 3, ...text(2, "no")]),
        { error: { code: 3, message: "no" } },
      ],
    ] as const)
      t.same(deltaRequest.decode(Buffer.from(bytes)), {
        ...EMPTY,
        ...expected,
      });
    const resource = encodeResource({
      name: "n",
      version: "v",
      typeUrl: "u",
      value: Buffer.from("x"),
    });
    t.same(
      [...resource],
      [
        lengthDelimited(2),
        14,
        lengthDelimited(1),
        1,
        0x76,
        lengthDelimited(2),
        6,
        lengthDelimited(1),
        1,
        0x75,
        lengthDelimited(2),
        1,
        0x78,
        lengthDelimited(3),
        1,
        0x6e,
      ],
    );
    t.end();
  },
);

void t.test(
  "a response put together from encoded resources reads like one encoded whole",
  (t) => {
    const resources = ["a", "b"].map((name) => ({
      name,
      version: "1",
      typeUrl: "u",
      // Longer than one byte of a length can say.
      value: Buffer.alloc(70_000, name),
    }));
    const head = {
      systemVersion: "9",
      typeUrl: "u",
      nonce: "3",
      removed: ["gone"],
    };
    const decoded = deltaResponse.decode(
      assembleResponse(head, resources.map(encodeResource)),
    );
    t.same(decoded, { ...head, resources });
    t.same(
      deltaResponse.decode(deltaResponse.encode({ ...head, resources })),
      decoded,
    );
    t.end();
  },
);

void t.test("a response is read field by field, in steps", (t) => {
  const resources = ["a", "b"].map((name) => ({
    name,
    version: "1",
    typeUrl: "u",
    value: Buffer.from(name),
  }));
  const bytes = deltaResponse.encode({
    systemVersion: "9",
    typeUrl: "u",
    nonce: "3",
    removed: ["gone", "too"],
    resources,
  });
  let steps = 0;
  const head = readHead(bytes);
  let step = head.next();
  for (; step.done !== true; step = head.next()) steps += 1;
  t.same(step.value, { typeUrl: "u", nonce: "3" });
  t.equal(steps, 7);
  t.same(
    [...readParts(bytes)].filter((part) => part !== undefined),
    ["gone", "too", ...resources],
    "what is gone comes before what there is",
  );
  t.same(atOnce(readHead(Buffer.alloc(0))), { typeUrl: "", nonce: "" });
  t.end();
});

void t.test("a response that cannot be read throws", (t) => {
  for (const bytes of [
    [0x12, 0x7f],
    [0x2a],
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    // A group, which would be skipped in one go.
    [0x7b, 0x08, 0x01, 0x7c],
  ]) {
    const response = Buffer.from(bytes);
    t.throws(() => atOnce(readHead(response)), String(bytes));
    t.throws(() => [...readParts(response)], String(bytes));
  }
  const field15 = Buffer.from([0x7a, 0x01, 0x78]);
  t.same([...readParts(field15)], [undefined], "an unknown field is skipped");
  t.end();
});

void t.test("revisions beyond 32 bits survive", (t) => {
  const message = {
    store: "s",
    revision: 2 ** 52 + 1,
    digest: "d",
    accepted: true,
    selective: true,
    branch: "0a",
    parted: true,
  };
  t.same(revision.decode(revision.encode(message)), message);
  t.end();
});

void t.test("bytes that are no message throw, whatever they are", (t) => {
  for (const bytes of [
    [0xff, 0xff],
    [0x0a, 0x05, 0x01],
    [0x2a, 0x02, 0x0a, 0x7f],
  ])
    t.throws(() => deltaRequest.decode(Buffer.from(bytes)));
  t.throws(() => pushedResource.decode(Buffer.from([0x22, 0x7f])));
  t.end();
});

void t.test("a lookup comes back as it was, also an empty one", (t) => {
  for (const services of [[], ["shop/orders"], ["shop/a", "shop/b"]])
    t.same(lookup.decode(lookup.encode({ services })), { services });
  t.same(
    [...lookup.encode({ services: ["a/b"] })],
    [(1 << 3) | 2, 3, ...Buffer.from("a/b")],
  );
  t.end();
});

void t.test("what is kept of an encoded resource keeps nothing else", (t) => {
  for (const length of [1, 100, 5000]) {
    const field = encodeResource({
      name: "a",
      version: "1",
      typeUrl: "t",
      value: Buffer.alloc(length, 7),
    });
    t.equal(field.buffer.byteLength, field.length, `${length}`);
  }
  t.end();
});

const LONG = "s".repeat(1024);

/** Of a Service, so long. */
function jsonOf(name: string, length = 0): Buffer {
  const metadata = { name, namespace: "shop", resourceVersion: "7" };
  const bare = JSON.stringify({ kind: "Service", metadata, spec: "" });
  const spec = "x".repeat(Math.max(0, length - bare.length));
  return Buffer.from(JSON.stringify({ kind: "Service", metadata, spec }));
}

void t.test("packed resources are parts of a response like others", (t) => {
  const plain = { name: "n", version: "v", typeUrl: "u", value: Buffer.of(1) };
  const bytes = assembleResponse({ nonce: "3", removed: ["gone"] }, [
    encodePacked(jsonOf("a")),
    encodeResource(plain),
    encodePacked(jsonOf("b", LONGEST_PACKED)),
  ]);
  t.strictSame(
    [...readParts(bytes)].filter((part) => part !== undefined),
    [
      "gone",
      {
        name: "Service/shop/a",
        version: "7",
        typeUrl: PACKED_TYPE,
        value: jsonOf("a"),
      },
      plain,
      {
        name: "Service/shop/b",
        version: "7",
        typeUrl: PACKED_TYPE,
        value: jsonOf("b", LONGEST_PACKED),
      },
    ],
  );
  t.strictSame(atOnce(readHead(bytes)), { typeUrl: "", nonce: "3" });
  t.end();
});

void t.test("the field numbers of a packed response never change", (t) => {
  const [tag, more] = encodePacked(jsonOf("a"));
  t.strictSame([tag, more], [0xca, 0x3e], "1001, length-delimited");
  const digest = "ab".repeat(32);
  const closing = encodeClosing({
    store: "s",
    revision: 300,
    digest,
    accepted: true,
    selective: true,
  });
  t.strictSame(
    [...closing],
    [
      ...[0xd2, 0x3e, 44],
      ...[0x0a, 1, 0x73],
      ...[0x10, 0xac, 0x02],
      ...[0x1a, 32, ...Buffer.from(digest, "hex")],
      ...[0x20, 1, 0x28, 1],
    ],
    "1002, length-delimited",
  );
  t.end();
});

void t.test("the Revision that closes a push comes back as it was", (t) => {
  const one: Revision = {
    store: "11111111-1111-4111-8111-111111111111",
    revision: 2 ** 52 + 1,
    digest: "0f".repeat(32),
    accepted: true,
    selective: false,
    branch: "",
    parted: false,
  };
  for (const closing of [
    one,
    { ...one, store: "", accepted: false, selective: true },
    { ...one, branch: "0123456789abcdef", parted: true },
  ])
    t.strictSame(
      atOnce(
        readHead(assembleResponse({ nonce: "3" }, [encodeClosing(closing)])),
      ),
      { typeUrl: "", nonce: "3", closing },
    );
  const bare = encodeClosing({ ...one, store: "", accepted: false });
  t.equal(bare.length, 3 + 9 + 34, "what is not said takes nothing");
  t.throws(() => atOnce(readHead(encodeClosing({ ...one, store: LONG }))), {
    message: /a Revision of \d+ bytes is too long/,
  });
  t.end();
});

void t.test("a message becomes no more than a message may have", (t) => {
  const field = encodePacked(jsonOf("a", LONGEST_PACKED));
  const fitting = MOST_UNPACKED / LONGEST_PACKED;
  const fields = Array.from({ length: fitting }, () => field);
  t.equal(
    [...readParts(Buffer.concat(fields))].length,
    fitting,
    "what fits is read",
  );
  const read: unknown[] = [];
  t.throws(
    () => {
      for (const part of readParts(Buffer.concat([...fields, field])))
        read.push(part);
    },
    { message: /become more than 4194304 bytes/ },
  );
  t.equal(read.length, fitting, "and nothing of what does not");
  t.end();
});
