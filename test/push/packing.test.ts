import { hash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import t from "tap";
import { parseAllDocuments } from "yaml";
import { DICTIONARY } from "../../src/push/dictionary.ts";
import { resourceName } from "../../src/push/names.ts";
import {
  LONGEST_PACKED,
  MOST_UNPACKED,
  pack,
  unpack,
} from "../../src/push/packing.ts";
import { keyOf, type Resource } from "../../src/resources/envelope.ts";

const EXAMPLES = join(import.meta.dirname, "../../config/examples/kinds");

const SERVICE: Resource = {
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Service",
  metadata: { name: "orders", namespace: "shop" },
  spec: { ports: [{ port: 80 }] },
};

function examples(): Resource[] {
  return readdirSync(EXAMPLES).flatMap((file) =>
    parseAllDocuments(readFileSync(join(EXAMPLES, file), "utf8")).map(
      (document) => document.toJS() as Resource,
    ),
  );
}

/** As the store has it. */
function stored(resource: Resource): Resource {
  return {
    ...resource,
    metadata: {
      ...resource.metadata,
      uid: "8b1d6a0e-3f5c-4a8e-9d27-5c1be0a4f713",
      resourceVersion: "4711",
      generation: 3,
      creationTimestamp: "2027-03-04T05:06:07.089Z",
    },
  };
}

function jsonOf(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

void t.test("a resource of each kind comes back byte for byte", (t) => {
  const kinds = new Set<string>();
  for (const resource of examples().map(stored)) {
    kinds.add(resource.kind);
    const json = jsonOf(resource);
    const packed = pack(json);
    t.strictSame(unpack(packed, MOST_UNPACKED), {
      name: resourceName(keyOf(resource)),
      version: "4711",
      json,
    });
    t.ok(
      packed.length < json.length / 2,
      `${resource.kind}: ${packed.length} of ${json.length} bytes`,
    );
  }
  t.ok(kinds.size >= 9, [...kinds].join(", "));
  t.end();
});

void t.test("names are read whole, and what has no version has none", (t) => {
  const name = "größe-1".repeat(20);
  const json = jsonOf({ kind: "Thing", metadata: { name } });
  t.strictSame(unpack(pack(json), MOST_UNPACKED), {
    name: `Thing//${name}`,
    version: "",
    json,
  });
  t.end();
});

void t.test("both are what sidecars that run already have", (t) => {
  t.equal(
    hash("sha256", DICTIONARY),
    "d71e30ad76cba9f34df5114e14b8e3a2f821652e801061a6cf6694068dab4313",
    "the dictionary of a schema never changes",
  );
  const { name, version } = unpack(
    Buffer.from("o3Ik5xeB6iNdQ7SoBjdJsYWwibmhIf5gMicxnPB7HOI+oL8B", "base64"),
    MOST_UNPACKED,
  );
  t.strictSame([name, version], ["Workload/shop/orders-1", "4711"]);
  t.end();
});

void t.test("what is not a packed resource is refused, and why", (t) => {
  const whole = pack(jsonOf(stored({ ...SERVICE })));
  const deflated = (text: string): Buffer => pack(Buffer.from(text));
  const huge = jsonOf({
    ...SERVICE,
    spec: { text: "x".repeat(LONGEST_PACKED) },
  });
  const cases: readonly [what: string, Uint8Array, RegExp][] = [
    ["nothing", Buffer.alloc(0), /unexpected end of file/],
    ["half of one", whole.subarray(0, 20), /unexpected end of file/],
    ["garbage", Buffer.alloc(64, 0xff), /invalid/],
    ["no dictionary", deflateRawSync(Buffer.alloc(9), { level: 9 }), /JSON/],
    ["no JSON", deflated("no JSON"), /JSON/],
    ["null", deflated("null"), /no kind/],
    ["no kind", deflated(`{"metadata":{"name":"a"}}`), /no kind/],
    ["no name", deflated(`{"kind":"Service"}`), /no kind, name/],
    [
      "a version that is a number",
      deflated(`{"kind":"A","metadata":{"name":"a","resourceVersion":1}}`),
      /or version/,
    ],
    ["a bomb", pack(huge), /becomes more than 16384 bytes/],
    [
      "a bomb of a gigabyte's kind",
      deflateRawSync(Buffer.alloc(8 * MOST_UNPACKED)),
      /becomes more than 16384 bytes/,
    ],
  ];
  for (const [what, bytes, why] of cases)
    t.throws(() => unpack(bytes, MOST_UNPACKED), { message: why }, what);
  t.throws(() => unpack(whole, 100), {
    message: /packed resources of a message become more than 4194304 bytes/,
  });
  t.throws(() => unpack(whole, 0), { message: /become more than 4194304/ });
  t.end();
});
