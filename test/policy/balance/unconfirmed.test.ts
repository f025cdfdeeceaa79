/** Endpoints of which the control plane hears nothing: others are called first, and they are called where others are too few. */
import t from "tap";
import {
  makeBalancer,
  type BalancedEndpoint,
  type Balancer,
} from "../../../src/policy/balance/picker.ts";
import type { LoadBalancing } from "../../../src/resources/traffic-policy/load-balancing.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

/** "b?" is unconfirmed; "c2" is two localities away. */
function endpoints(names: string): readonly BalancedEndpoint[] {
  return names.split(" ").map((name) => ({
    key: name.charAt(0),
    weight: 1,
    ready: true,
    distance: Number(/\d/.exec(name)?.[0] ?? 0),
    ...(name.includes("?") ? { unconfirmed: true } : {}),
  }));
}

function balancer(
  names: string,
  loadBalancer: Partial<LoadBalancing<number>> = {},
): {
  readonly made: Balancer<BalancedEndpoint>;
  readonly become: (names: string) => void;
  readonly out: Set<string>;
  readonly probation: Set<string>;
} {
  const out = new Set<string>();
  const probation = new Set<string>();
  let looks = 0;
  const made = makeBalancer<BalancedEndpoint>(seededRandom(3), {
    // Looked at anew at each pick.
    get version() {
      looks += 1;
      return looks;
    },
    until: (key) => (out.has(key) ? Infinity : 0),
    onProbation: (key) => probation.has(key),
  });
  const become = (now: string): void =>
    made.update(
      endpoints(now),
      {
        loadBalancer: { simple: "ROUND_ROBIN", ...loadBalancer },
        minHealthPercent: 50,
      },
      0,
    );
  become(names);
  return { made, become, out, probation };
}

/** The keys that so many picks go to, sorted. */
function picked(
  made: Balancer<BalancedEndpoint>,
  exclude?: readonly string[],
  hash?: number,
): string {
  const keys = new Set<string>();
  for (let count = 0; count < 40; count += 1) {
    const pick = made.pick(0, exclude && new Set(exclude), hash);
    keys.add(pick.kind === "endpoint" ? pick.endpoint.key : pick.reason);
    if (pick.kind === "endpoint") pick.done(undefined, 0);
  }
  return [...keys].sort().join("");
}

void t.test("confirmed endpoints are called first", (t) => {
  const { made, become } = balancer("a b?");
  t.equal(picked(made), "a");
  become("a b");
  t.equal(picked(made), "ab", "both once it is confirmed again");
  become("a? b?");
  t.equal(picked(made), "ab", "none is preferred where all are alike");
  t.end();
});

void t.test("unconfirmed ones serve where no confirmed one is well", (t) => {
  const { made, out } = balancer("a b?");
  out.add("a");
  t.equal(picked(made), "b");
  t.end();
});

void t.test("few confirmed ones do not bear the load of all", (t) => {
  const { made, become, out } = balancer("a b? c?");
  t.equal(picked(made), "abc", "a third is too few");
  become("a b c? d?");
  t.equal(picked(made), "ab", "half is enough");
  out.add("b");
  t.equal(picked(made), "acd", "but not where one of these is ejected");
  t.end();
});

void t.test("a retry tries an unconfirmed one when no other is left", (t) => {
  const { made } = balancer("a b c?");
  t.equal(picked(made, ["a"]), "b");
  t.equal(picked(made, ["a", "b"]), "c");
  t.equal(made.hasOther(0, new Set(["a", "b"])), true);
  t.end();
});

void t.test("farther ones are tried before unconfirmed ones", (t) => {
  const near = { localityLbSetting: { enabled: true } };
  const { made } = balancer("a b? c2 d2", near);
  t.equal(picked(made, ["a"]), "cd");
  t.equal(picked(made, ["a", "c", "d"]), "b");
  t.end();
});

void t.test("no call probes an unconfirmed one while others serve", (t) => {
  const { made, become, probation } = balancer("a b?");
  probation.add("b");
  t.equal(picked(made), "a");
  become("a b");
  t.equal(picked(made), "b", "it is probed once it is confirmed");
  t.end();
});

void t.test("a request with a hash stays where it was", (t) => {
  const { made, become, out } = balancer("a b c", {
    consistentHash: { useSourceIp: true },
  });
  const hash = [...Array(1000).keys()].find(
    (each) => picked(made, undefined, each * 4_000_003) === "b",
  );
  t.not(hash, undefined);
  become("a b? c");
  t.equal(picked(made, undefined, (hash ?? 0) * 4_000_003), "b");
  t.equal(picked(made), "ac", "one without a hash does not go there");
  out.add("b");
  t.notMatch(picked(made, undefined, (hash ?? 0) * 4_000_003), /b/);
  t.end();
});
