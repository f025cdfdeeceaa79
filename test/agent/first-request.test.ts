import t from "tap";
import { firstRequest } from "../../src/agent/first-request.ts";
import type { ReceivedConfig } from "../../src/agent/staging.ts";
import { deltaRequest } from "../../src/push/codec.ts";
import { LONGEST_REQUEST, MOST_STATED, NODE } from "../../src/push/names.ts";
import { service } from "../support/control-plane/push-control-plane.ts";
import { REQUEST } from "../support/control-plane/raw-sidecar.ts";

const ASKING = {
  ...REQUEST,
  node: { id: "shop/web-1", metadata: { [NODE.schema]: "2" } },
  subscribe: ["self"],
};

function held(names: Iterable<string>): ReceivedConfig {
  const received = { version: "1", bytes: 100, resource: service("any") };
  return {
    resources: new Map(Array.from(names, (name) => [name, received])),
    lookups: new Map([
      ["Host//a.shop", { services: ["shop/a"] }],
      ["Host//nowhere", { services: [] }],
    ]),
  };
}

function* named(count: number, length: number): Generator<string> {
  for (let number = 0; number < count; number += 1)
    yield String(number).padStart(length, "n");
}

void t.test("one request says what is held", (t) => {
  t.same(firstRequest(ASKING, held(["Service/shop/a"])), {
    messages: [
      {
        ...ASKING,
        initialVersions: new Map([
          ["Service/shop/a", "1"],
          ["Host//a.shop", "shop/a"],
          ["Host//nowhere", "none"],
        ]),
      },
    ],
    says: true,
  });
  t.end();
});

void t.test("where one is too long, others follow it", (t) => {
  const names = [...named(10_000, 1000)];
  const { messages, says } = firstRequest(ASKING, held(names));
  const [first, ...parts] = messages;
  t.ok(says);
  t.match(first, { subscribe: ["self"], initialVersions: new Map() });
  t.equal(first?.node?.metadata[NODE.parts], String(parts.length));
  t.ok(parts.length > 2);
  for (const each of parts) {
    t.match(each, { node: undefined, subscribe: [], nonce: "" });
    t.ok(deltaRequest.encode(each).length < LONGEST_REQUEST);
  }
  t.same(
    parts.flatMap(({ initialVersions }) => [...initialVersions.keys()]),
    [...names, "Host//a.shop", "Host//nowhere"],
    "each once",
  );
  t.end();
});

void t.test("what is more than a control plane takes is not said", (t) => {
  const count = Math.ceil(MOST_STATED / 1000);
  t.same(firstRequest(ASKING, held(named(count, 1000))), {
    messages: [ASKING],
    says: false,
  });
  t.end();
});
