import t from "tap";
import {
  Item,
  lookupEntry,
  resourceEntry,
  type Entry,
  type Form,
} from "../../../src/control-plane/push/catalogue/item.ts";
import {
  encodeMessage,
  formFor,
  messagesOf,
  MOST_PACKED,
  type PushMessage,
} from "../../../src/control-plane/push/push-messages.ts";
import { atOnce } from "../../../src/core/slices.ts";
import { readHead, readParts } from "../../../src/push/codec.ts";
import {
  LOOKUP_TYPE,
  PACKED_TYPE,
  RESOURCE_TYPE,
  REVISION_TYPE,
} from "../../../src/push/names.ts";
import { service } from "../../support/control-plane/push-control-plane.ts";

const VERSION = { store: "store-1", revision: 9, digest: "ab".repeat(32) };

function entry(name: string, note = "", onEncode = () => undefined): Entry {
  const resource = service(name);
  return resourceEntry(
    new Item(`Service/shop/${name}`, 1),
    {
      ...resource,
      metadata: {
        ...resource.metadata,
        resourceVersion: "9",
        ...(note === "" ? {} : { annotations: { note } }),
      },
    },
    onEncode,
  );
}

function encoded(
  message: PushMessage,
  form: Form,
  storeSaid = false,
): { typeUrl: string; store: string | undefined; parts: unknown[] } {
  const bytes = encodeMessage(message, "5", {
    form,
    version: VERSION,
    storeSaid,
    closing: () => ({ accepted: false, selective: true }),
  });
  const { typeUrl, nonce, closing } = atOnce(readHead(bytes));
  t.equal(nonce, "5");
  const parts = [...readParts(bytes)].flatMap((part) =>
    part === undefined ? [] : [typeof part === "string" ? part : part.typeUrl],
  );
  return { typeUrl, store: closing?.store, parts };
}

void t.test("a sidecar gets what it says that it reads", (t) => {
  for (const [schema, form] of [
    [undefined, "plain"],
    ["", "plain"],
    ["2", "plain"],
    ["x", "plain"],
    ["3", "packed"],
    ["4", "packed"],
  ] as const)
    t.equal(
      formFor({
        id: "a",
        metadata: schema === undefined ? {} : { "wherry.schema": schema },
      }),
      form,
      `schema ${schema ?? "unsaid"}`,
    );
  t.end();
});

void t.test("a packed push of a few resources is one message", (t) => {
  const difference = {
    changed: [
      entry("a"),
      lookupEntry(new Item("Host//a.shop", 2), ["shop/a"]),
      entry("long", "x".repeat(20_000)),
    ],
    removed: ["Service/shop/gone"],
  };
  const [packed, ...none] = messagesOf(difference, "packed");
  if (packed === undefined) throw new Error("no message");
  t.equal(none.length, 0);
  t.strictSame(encoded(packed, "packed"), {
    typeUrl: "",
    store: "store-1",
    // What is long would become much of few bytes.
    parts: ["Service/shop/gone", PACKED_TYPE, LOOKUP_TYPE, RESOURCE_TYPE],
  });
  t.equal(encoded(packed, "packed", true).store, "", "it was said before");
  t.strictSame(
    messagesOf(difference, "plain").map((message) => encoded(message, "plain")),
    [
      {
        typeUrl: RESOURCE_TYPE,
        store: undefined,
        parts: ["Service/shop/gone", RESOURCE_TYPE, LOOKUP_TYPE, RESOURCE_TYPE],
      },
      { typeUrl: REVISION_TYPE, store: undefined, parts: [REVISION_TYPE] },
    ],
    "plain ones end with a message of its own",
  );
  t.end();
});

void t.test("a push without a difference is a Revision", (t) => {
  const nothing = { changed: [], removed: [] };
  for (const form of ["packed", "plain"] as const)
    t.match(messagesOf(nothing, form), [{ ...nothing, closes: true }]);
  t.end();
});

void t.test("parts are as long as what a sidecar makes of them", (t) => {
  const changed = Array.from({ length: 100 }, (_, index) =>
    entry(`s${index}`, "x".repeat(15_000)),
  );
  const parts = messagesOf({ changed, removed: [] }, "packed");
  t.strictSame(
    parts.map(({ closes }) => closes),
    [false, false, true],
  );
  t.equal(
    parts.reduce((count, { changed }) => count + changed.length, 0),
    100,
  );
  t.end();
});

void t.test("thousands of resources go plain, and close the push", (t) => {
  const changed = Array.from({ length: MOST_PACKED + 1 }, (_, index) =>
    entry(`s${index}`),
  );
  for (const [count, typeUrl] of [
    [MOST_PACKED, PACKED_TYPE],
    [MOST_PACKED + 1, RESOURCE_TYPE],
  ] as const) {
    const some = changed.slice(0, count);
    const message = messagesOf({ changed: some, removed: [] }, "packed").at(-1);
    if (message === undefined) throw new Error("no message");
    const { store, parts } = encoded(message, "packed");
    t.equal(store, "store-1");
    t.strictSame([...new Set(parts)], [typeUrl]);
  }
  t.end();
});

void t.test("each form is made once, when it is asked for", (t) => {
  let made = 0;
  const one = entry("a", "", () => void (made += 1));
  for (const form of ["packed", "plain", "packed", "plain"] as const)
    t.equal(one.encoded(form), one.encoded(form));
  t.equal(made, 2);
  t.end();
});
