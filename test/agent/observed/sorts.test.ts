/** What tells two calls apart that a sidecar has seen. */
import t from "tap";
import { INCOMING, OUTSIDE } from "../../../src/agent/observed/sorts.ts";

const times = { count: 1, firstAge: 0, lastAge: 0 };
const incoming = {
  ...{ policy: "", effect: "", peer: "", address: "", port: 80 },
  ...{ method: "GET", host: "a", path: "/", ...times },
};
const outside = {
  ...{ verdict: "passed", service: "", host: "a", port: 80, name: "" },
  ...times,
};

void t.test("fields that tell calls apart, and others", (t) => {
  const differ = <C extends object>(
    keyOf: (call: C) => string,
    call: C,
    change: Partial<C>,
  ): boolean => keyOf(call) !== keyOf({ ...call, ...change });
  for (const [field, value, expected] of [
    ["policy", "shop/a", true],
    ["effect", "refused", true],
    ["peer", "spiffe://a", true],
    ["address", "192.0.2.1", true],
    ["port", 81, true],
    ["method", "PUT", true],
    ["path", "/a", true],
    ["host", "b", false],
    ["count", 2, false],
    ["lastAge", 2, false],
  ] as const)
    t.equal(
      differ(INCOMING.keyOf, incoming, { [field]: value }),
      expected,
      field,
    );
  for (const [field, value, expected] of [
    ["verdict", "refused", true],
    ["service", "shop/a", true],
    ["host", "b", true],
    ["port", 81, true],
    ["name", "b", false],
    ["count", 2, false],
  ] as const)
    t.equal(
      differ(OUTSIDE.keyOf, outside, { [field]: value }),
      expected,
      field,
    );
  t.not(INCOMING.method.path, OUTSIDE.method.path);
  t.end();
});
