import t from "tap";
import { Greeting } from "../../../src/control-plane/push/greeting.ts";
import type { DeltaRequest } from "../../../src/push/messages.ts";
import { MOST_STATED, NODE, statedBytes } from "../../../src/push/names.ts";
import { REQUEST } from "../../support/control-plane/raw-sidecar.ts";

function first(parts?: string): DeltaRequest {
  return {
    ...REQUEST,
    node: {
      id: "shop/web-1",
      metadata: parts === undefined ? {} : { [NODE.parts]: parts },
    },
    subscribe: ["self"],
  };
}

function part(...names: readonly string[]): DeltaRequest {
  return {
    ...REQUEST,
    initialVersions: new Map(names.map((name) => [name, "1"])),
  };
}

void t.test("one request says all", (t) => {
  for (const parts of [undefined, "0", "-1", "many", ""]) {
    const request = { ...first(parts), initialVersions: new Map([["a", "1"]]) };
    t.same(new Greeting().add(request), { kind: "whole", request });
  }
  t.end();
});

void t.test("several requests say all together", (t) => {
  const greeting = new Greeting();
  t.same(greeting.add(first("2")), { kind: "part" });
  t.same(greeting.add(part("a", "b")), { kind: "part" });
  t.same(greeting.add(part("b", "c")), {
    kind: "whole",
    request: {
      ...first("2"),
      initialVersions: new Map([
        ["a", "1"],
        ["b", "1"],
        ["c", "1"],
      ]),
    },
  });
  t.end();
});

void t.test("what one sidecar can fill is bounded", (t) => {
  const greeting = new Greeting();
  t.same(greeting.add(first("1e300")), { kind: "part" });
  const name = "n".repeat(1000);
  const fits = Math.floor(MOST_STATED / statedBytes(name, "1"));
  for (let count = 0; count < fits; count += 1)
    if (greeting.add(part(name)).kind !== "part") t.fail(`at ${count}`);
  t.match(greeting.add(part(name)), { kind: "long", message: /over 33554432/ });
  t.end();
});
