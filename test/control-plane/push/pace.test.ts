/** What one sidecar may ask for in a second, and how much of it in a message: others pay for it. */
import { status } from "@grpc/grpc-js";
import t from "tap";
import { parseSpec } from "../../../src/control-plane/push/grpc.ts";
import { Pace, REQUESTS } from "../../../src/control-plane/push/pace.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { OTHER, PEER, SPEC } from "../../support/control-plane/registry.ts";

void t.test("an instance has a burst, and then its rate", (t) => {
  const clock = fakeClock();
  const pace = new Pace(clock);
  const takes = (peer: Peer, most: number): number => {
    let count = 0;
    try {
      for (; count < most; count += 1) pace.take(peer);
    } catch (thrown) {
      t.match(thrown, {
        code: status.RESOURCE_EXHAUSTED,
        details: /wait a few seconds/,
      });
    }
    return count;
  };
  t.equal(takes(PEER, 100), REQUESTS.burst);
  t.equal(takes({ ...PEER, key: "another" }, 1), 0, "its key is no other one");
  t.equal(takes({ ...PEER, name: "web-2" }, 1), 1, "another instance");
  t.equal(takes({ ...OTHER, name: PEER.name }, 1), 1, "another identity");
  t.equal(takes({ ...PEER, source: "10.9.9.9" }, 1), 1, "a copy elsewhere");
  const at = (source: string): Peer => ({ ...PEER, source });
  t.equal(takes(at("2001:db8::1"), 100), REQUESTS.burst);
  t.equal(takes(at("2001:db8::1:2"), 1), 0, "the same /64");
  t.equal(takes(at("2001:db8:0:1::1"), 1), 1, "another /64");
  clock.advance(5000);
  t.equal(takes(PEER, 100), 5 * REQUESTS.rate);
  t.end();
});

void t.test("a spec is read where it is no longer than any", (t) => {
  const ports = Object.fromEntries(
    Array.from({ length: 64 }, (_, at) => [`p${at}`.padEnd(63, "x"), 60_000]),
  );
  const longest = { ...SPEC, ports };
  t.same(parseSpec(JSON.stringify(longest)), longest);
  for (const [text, message] of [
    [JSON.stringify({ a: "x".repeat(20_000) }), /expected at most 16384/],
    ["nonsense", /not JSON/],
  ] as const)
    t.throws(() => parseSpec(text), {
      code: status.INVALID_ARGUMENT,
      details: message,
    });
  t.end();
});
