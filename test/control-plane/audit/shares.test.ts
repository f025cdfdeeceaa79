import t from "tap";
import { AuditShares } from "../../../src/control-plane/audit/shares.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";

const LIMITS = { entries: 40, bytes: 1000 };
const AUTHORS = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

type Sizes = ReadonlyMap<string, readonly number[]>;

/** By a look at each author's entries: the most that one takes, and whether all take too much. */
function plainly(entries: Sizes): {
  readonly most: number;
  readonly isOver: boolean;
} {
  const sizes = [...entries.values()].map((bytes) => ({
    rows: bytes.length,
    bytes: bytes.reduce((sum, each) => sum + each, 0),
  }));
  const sum = (of: "rows" | "bytes"): number =>
    sizes.reduce((before, size) => before + size[of], 0);
  return {
    most: Math.max(0, ...[...entries.keys()].map((by) => weight(entries, by))),
    isOver: sum("rows") > LIMITS.entries || sum("bytes") > LIMITS.bytes,
  };
}

function weight(entries: Sizes, author: string): number {
  const sizes = entries.get(author) ?? [];
  if (sizes.length <= 1) return 0;
  const bytes = sizes.reduce((sum, each) => sum + each, 0);
  return Math.max(sizes.length / LIMITS.entries, bytes / LIMITS.bytes);
}

void t.test(
  "the heaviest is found, also after transactions that failed",
  (t) => {
    const random = seededRandom(7);
    const below = (end: number): number => Math.floor(random() * end);
    const shares = new AuditShares(LIMITS);
    let entries = new Map<string, number[]>();
    for (let transaction = 0; transaction < 2000; transaction += 1) {
      const before = new Map([...entries].map(([by, each]) => [by, [...each]]));
      shares.begin();
      for (let step = below(5); step >= 0; step -= 1) {
        const author = AUTHORS[below(AUTHORS.length)] ?? "";
        const own = entries.get(author) ?? [];
        if (own.length > 0 && below(2) === 0) {
          shares.remove(author, own.shift() ?? 0);
          if (own.length === 0) entries.delete(author);
        } else {
          const bytes = 1 + below(60);
          shares.add(author, { rows: 1, bytes });
          entries.set(author, [...own, bytes]);
        }
      }
      if (below(3) === 0) {
        shares.undo();
        entries = before;
      }
      const { most, isOver } = plainly(entries);
      const { heaviest } = shares;
      const found = heaviest === undefined ? 0 : weight(entries, heaviest);
      if (Math.abs(found - most) > 1e-9 || shares.isOver !== isOver)
        t.fail(`transaction ${transaction}: ${found} for ${most}`);
    }
    t.pass("2,000 transactions");
    t.end();
  },
);

void t.test("what is undone twice is undone once", (t) => {
  const shares = new AuditShares(LIMITS);
  shares.add("a", { rows: 3, bytes: 3 });
  shares.begin();
  shares.add("b", { rows: 40, bytes: 40 });
  t.ok(shares.isOver);
  t.equal(shares.heaviest, "b");
  shares.undo();
  shares.undo();
  t.notOk(shares.isOver);
  t.equal(shares.heaviest, "a");
  t.end();
});
