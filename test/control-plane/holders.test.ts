import { Socket } from "node:net";
import t from "tap";
import { limitHolders } from "../../src/control-plane/holders.ts";

void t.test("a holder loses its oldest connection, and no other one", (t) => {
  const excess: string[] = [];
  const holders = limitHolders(2, (holder) => excess.push(holder));
  const [a, b, c, other] = [
    new Socket(),
    new Socket(),
    new Socket(),
    new Socket(),
  ];
  holders.add("one", a);
  holders.add("one", b);
  holders.add("one", a);
  holders.add("two", other);
  t.same([a.destroyed, b.destroyed], [false, false], "again is no other one");
  holders.add("one", c);
  t.same(
    [a, b, c, other].map(({ destroyed }) => destroyed),
    [true, false, false, false],
  );
  t.same(excess, ["one"]);
  t.end();
});

void t.test("a connection that has closed counts no more", (t) => {
  const holders = limitHolders(1, () => t.fail("there is room"));
  const first = new Socket();
  holders.add("one", first);
  first.destroy();
  first.once("close", () => {
    const second = new Socket();
    holders.add("one", second);
    t.equal(second.destroyed, false);
    t.end();
  });
});
