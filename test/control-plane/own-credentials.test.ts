/** The control plane's certificate is renewed at half life, and a failure to renew keeps the present one. */
import t from "tap";
import { openAuthority } from "../../src/control-plane/authority/authority.ts";
import { keepOwnCredentials } from "../../src/control-plane/own-credentials.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const HOUR = 3_600_000;

void t.test("renewed at half life, tried again where that fails", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const authority = await openAuthority({
    directory: `${t.testdir()}/authority`,
    trustDomain: "cluster.local",
    clock,
  });
  let broken = false;
  const own = keepOwnCredentials({
    own: (spiffeId) => {
      if (broken) throw new Error("no key at hand");
      return authority.own(spiffeId);
    },
    trustDomain: "cluster.local",
    clock,
    logger: silentLogger,
  });
  const first = own.credentials.value;
  t.equal(first.id, "spiffe://cluster.local/ns/wherry-system/sa/control-plane");
  clock.advance(11 * HOUR);
  t.equal(own.credentials.value, first);
  broken = true;
  clock.advance(2 * HOUR);
  t.equal(own.credentials.value, first);
  broken = false;
  clock.advance(HOUR);
  const second = own.credentials.value;
  t.not(second, first);
  t.ok(second.notAfter > first.notAfter);
  own.close();
  t.equal(clock.pending, 0);
});

void t.test(
  "a clock that jumps out of its life brings another at once, and one that does not brings none",
  async (t) => {
    for (const [ms, renewed] of [
      [100_000, false],
      [-600_000, false],
      [25 * HOUR, true],
      [-25 * HOUR, true],
    ] as const) {
      const clock = fakeClock({ wall: Date.now() });
      const authority = await openAuthority({
        directory: `${t.testdir()}/authority`,
        trustDomain: "cluster.local",
        clock,
      });
      const own = keepOwnCredentials({
        own: (spiffeId) => authority.own(spiffeId),
        trustDomain: "cluster.local",
        clock,
        logger: silentLogger,
      });
      const first = own.credentials.value;
      clock.jump(ms);
      own.clockJumped();
      t.equal(own.credentials.value !== first, renewed, `${ms} ms`);
      const { notBefore, notAfter } = own.credentials.value;
      t.ok(clock.wall() >= notBefore && clock.wall() < notAfter);
      own.close();
    }
  },
);
