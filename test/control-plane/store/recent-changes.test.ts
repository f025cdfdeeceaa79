/** Recent changes are there without gaps, or not at all. */
import t from "tap";
import { RecentChanges } from "../../../src/control-plane/store/recent-changes.ts";
import { service } from "../../support/control-plane/store-contract/fixtures.ts";

void t.test("the newest, in their order", (t) => {
  const recent = new RecentChanges(100);
  t.same(recent.read(100, 5), []);
  t.equal(recent.read(99, 5), undefined, "before it began");
  for (let revision = 101; revision <= 3000; revision += 1)
    recent.add({ revision, type: "put", resource: service("a") });
  const revisions = (after: number, limit: number): number[] | undefined =>
    recent.read(after, limit)?.map(({ revision }) => revision);
  t.same(revisions(2998, 5), [2999, 3000]);
  t.same(revisions(3000, 5), []);
  t.same(revisions(2700, 3), [2701, 2702, 2703]);
  t.equal(revisions(2488, 1)?.[0], 2489, "512 at least");
  t.equal(recent.read(1900, 3), undefined, "and 1,024 at most");
  let kept = 0;
  for (let after = 0; after < 3000; after += 1)
    if (recent.read(after, 1) !== undefined) kept += 1;
  t.ok(kept >= 512 && kept <= 1024, `${kept}`);
  t.end();
});
