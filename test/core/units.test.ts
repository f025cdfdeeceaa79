/** What the compiler refuses to mix. Each line that is expected to be an error is checked with all other types, by `npm run lint`. */
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import type {
  Bytes,
  MonotonicMs,
  ServiceKey,
  SpiffeUri,
  WallMs,
} from "../../src/core/units.ts";
import { formatSpiffeId } from "../../src/identity/spiffe.ts";
import { serviceKey } from "../../src/mesh/service-key.ts";

void t.test("a time of one clock is not a time of the other", (t) => {
  const since = (begun: MonotonicMs): number => systemClock.now() - begun;
  const age = (made: WallMs): number => systemClock.wall() - made;
  const now: MonotonicMs = systemClock.now();
  const wall: WallMs = systemClock.wall();
  // @ts-expect-error A wall time is not monotonic.
  t.type(since(wall), "number");
  // @ts-expect-error A monotonic time is not a wall time.
  t.type(age(now), "number");
  t.type(since(now) + age(wall), "number");
  // What comes of arithmetic has no name, and is taken for either.
  t.type(since(now - 5) + age(wall - 5), "number");
  t.end();
});

void t.test("a key is no identity, and bytes are no time", (t) => {
  const id = formatSpiffeId({
    trustDomain: "cluster.local",
    namespace: "shop",
    serviceAccount: "web",
  });
  const ofPeer = (peer: SpiffeUri): string => peer;
  const ofService = (key: ServiceKey): string => key;
  const room = (bytes: Bytes): number => bytes;
  // @ts-expect-error A Service's key is nobody's identity.
  t.equal(ofPeer(serviceKey("orders", "shop", 80)), "orders.shop:80");
  // @ts-expect-error An identity is no Service's key.
  t.match(ofService(id), /^spiffe:/);
  // @ts-expect-error A time is no amount of data.
  t.type(room(systemClock.now()), "number");
  t.match(ofPeer("spiffe://cluster.local/ns/shop/sa/web"), /^spiffe:/);
  t.end();
});
