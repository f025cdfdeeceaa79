/** What an instance owes is counted where its certificate is used. */
import t from "tap";
import {
  AT_ONCE,
  Debts,
  LONGEST_DEBT,
} from "../../../../src/control-plane/push/asked/debts.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { OTHER, PEER } from "../../../support/control-plane/registry.ts";

void t.test("an instance owes for itself alone, IPv6 for its /64", (t) => {
  let cpu = 0;
  const debts = new Debts(fakeClock(), () => cpu);
  const of = { ...PEER, source: "2001:db8::1" };
  debts.run(of, () => (cpu += 100 * AT_ONCE));
  for (const [peer, wait, why] of [
    [of, LONGEST_DEBT, "itself"],
    [{ ...of, source: "2001:db8::1:2" }, LONGEST_DEBT, "in the same /64"],
    [{ ...of, source: "2001:db8:0:1::1" }, 0, "in another /64"],
    [{ ...of, source: "10.0.0.1" }, 0, "a copy elsewhere"],
    [{ ...of, name: "web-2" }, 0, "another instance"],
    [{ ...OTHER, name: of.name, source: of.source }, 0, "another identity"],
  ] as const)
    t.equal(debts.wait(peer), wait, why);
  t.end();
});
