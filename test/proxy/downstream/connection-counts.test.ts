/** Bounds on connections: in all, on a listener, from an address, of an identity. */
import t from "tap";
import {
  joinSharedState,
  makeSharedState,
} from "../../../src/core/shared/shared-state.ts";
import {
  countConnections,
  type ConnectionCounts,
} from "../../../src/proxy/downstream/connection-counts.ts";
import { networkOf } from "../../../src/core/text/network.ts";

const CAPS = {
  connections: 10,
  connectionsPerListener: 6,
  connectionsPerAddress: 3,
  connectionsPerIdentity: 2,
};

/** Opens `count` connections; why the last one was refused. */
function open(
  counts: ConnectionCounts,
  count: number,
  listener: string,
  address: (index: number) => string | undefined,
): string | undefined {
  let reason: string | undefined;
  for (let index = 0; index < count; index += 1)
    reason = counts.add(listener, address(index))?.reason;
  return reason;
}

void t.test("one address has so many, another has its own", (t) => {
  const counts = countConnections(CAPS);
  t.equal(
    open(counts, 3, "link", () => "10.0.0.1"),
    undefined,
  );
  t.equal(
    open(counts, 1, "published", () => "10.0.0.1"),
    "too many connections from one address",
    "on whatever listener",
  );
  t.equal(
    open(counts, 1, "link", () => "10.0.0.2"),
    undefined,
  );
  counts.remove("link", "10.0.0.1");
  t.equal(
    open(counts, 1, "link", () => "10.0.0.1"),
    undefined,
  );
  t.end();
});

void t.test("one listener has so many, so that others have room", (t) => {
  const counts = countConnections(CAPS);
  const each = (index: number): string => `10.0.0.${index}`;
  t.equal(
    open(counts, 7, "published", each),
    "too many connections on the listener",
  );
  t.equal(counts.total, 6, "what was refused is not counted");
  t.equal(open(counts, 4, "link", each), undefined);
  t.equal(open(counts, 1, "link", each), "too many connections");
  t.end();
});

void t.test(
  "the application of this machine is not counted by address",
  (t) => {
    const counts = countConnections(CAPS);
    t.equal(
      open(counts, 6, "outbound", () => undefined),
      undefined,
    );
    t.end();
  },
);

void t.test("one identity has so many, from wherever", (t) => {
  const counts = countConnections(CAPS);
  t.equal(counts.addIdentity("spiffe://a"), undefined);
  t.equal(counts.addIdentity("spiffe://a"), undefined);
  t.match(counts.addIdentity("spiffe://a"), {
    reason: "too many connections of one identity",
    detail: /2 are open/,
  });
  t.equal(counts.addIdentity("spiffe://b"), undefined);
  counts.removeIdentity("spiffe://a");
  t.equal(counts.addIdentity("spiffe://a"), undefined);
  t.end();
});

void t.test("the caps hold over the workers of a process", (t) => {
  const first = makeSharedState(2);
  const { memory, rates } = first;
  if (memory === undefined || rates === undefined) throw new Error("no memory");
  const second = joinSharedState(1, {
    workers: 2,
    memory: memory.buffer,
    rates,
  });
  const here = countConnections(CAPS, first);
  const there = countConnections(CAPS, second);
  t.equal(
    open(here, 2, "link", () => "10.0.0.1"),
    undefined,
  );
  t.equal(
    open(there, 1, "link", () => "10.0.0.1"),
    undefined,
  );
  for (const counts of [here, there])
    t.equal(
      open(counts, 1, "link", () => "10.0.0.1"),
      "too many connections from one address",
    );
  t.equal(there.total, 3, "what was refused is not counted anywhere");
  const each = (index: number): string => `10.0.1.${index}`;
  t.equal(
    open(there, 3, "link", each),
    undefined,
    "six on the listener, in two workers",
  );
  t.equal(open(here, 1, "link", each), "too many connections on the listener");
  for (const address of ["10.0.0.1", "10.0.0.1"]) here.remove("link", address);
  t.equal(
    open(there, 2, "link", () => "10.0.0.1"),
    undefined,
    "what one worker lets go another may take",
  );
  t.equal(here.addIdentity("spiffe://a"), undefined);
  t.equal(there.addIdentity("spiffe://a"), undefined);
  t.match(here.addIdentity("spiffe://a"), {
    reason: "too many connections of one identity",
  });
  t.end();
});

const NETWORKS: readonly (readonly [address: string, network: string])[] = [
  ["10.0.0.7", "10.0.0.7"],
  ["::ffff:10.0.0.7", "10.0.0.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
  ["2001:db8::9", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["", ""],
];
for (const [address, network] of NETWORKS)
  void t.test(`"${address}" counts as ${network}`, (t) => {
    t.equal(networkOf(address), network);
    t.end();
  });
