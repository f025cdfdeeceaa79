/** Half of what somebody means to write is told from what is meant, by comparison with the files before. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { doubtOf, type FileFacts } from "../../../src/agent/files/doubt.ts";

const file = (
  count: number,
  bytes = count * 100,
  inode = "1",
  ended = true,
  signature = `${inode} ${bytes}`,
): FileFacts => ({ count, bytes, inode, ended, signature });

type Files = Record<string, FileFacts>;

/** Or the seconds until it is used. */
type Verdict = "used" | "refused" | 1 | 2 | 10;

const rows: readonly (readonly [
  what: string,
  before: Files,
  after: Files,
  verdict: Verdict,
  allowed: Verdict,
])[] = [
  ["more than before, in place", { a: file(2) }, { a: file(3) }, 1, 1],
  [
    "more than before, by a rename",
    { a: file(2) },
    { a: file(3, 300, "2") },
    "used",
    "used",
  ],
  ["as it is", { a: file(2) }, { a: file(2) }, "used", "used"],
  [
    "the same size, written again in place",
    { a: file(2) },
    { a: file(2, 200, "1", true, "later") },
    1,
    1,
  ],
  [
    "a new file beside one that is as it is",
    { a: file(2) },
    { a: file(2), b: file(1, 90, "9") },
    1,
    1,
  ],
  ["nothing before", {}, { a: file(2) }, "used", "used"],
  ["nothing at the start", {}, { a: file(0) }, "refused", "used"],
  ["one file that is emptied", { a: file(2) }, { a: file(0, 0) }, "refused", 2],
  ["comments alone", { a: file(2) }, { a: file(0, 900) }, "refused", 2],
  [
    "one of two files emptied",
    { a: file(2), b: file(2) },
    { a: file(2), b: file(0, 0) },
    "refused",
    2,
  ],
  [
    "emptied by a rename",
    { a: file(2) },
    { a: file(0, 0, "2") },
    "refused",
    "used",
  ],
  [
    "a file that was empty before",
    { a: file(2), b: file(0) },
    { a: file(2), b: file(0) },
    "used",
    "used",
  ],
  ["one less, in place", { a: file(4) }, { a: file(3) }, 2, 2],
  ["shorter, in place", { a: file(4, 400) }, { a: file(4, 390) }, 2, 2],
  [
    "one less, by a rename",
    { a: file(4) },
    { a: file(3, 300, "2") },
    "used",
    "used",
  ],
  [
    "half, by a rename",
    { a: file(4) },
    { a: file(2, 200, "2") },
    "used",
    "used",
  ],
  [
    "less than half, by a rename",
    { a: file(5) },
    { a: file(2, 200, "2") },
    10,
    "used",
  ],
  ["less than half, in place", { a: file(5) }, { a: file(2) }, 10, 2],
  ["a file removed", { a: file(2), b: file(2) }, { a: file(2) }, 2, 2],
  ["most files removed", { a: file(1), b: file(2) }, { a: file(1) }, 10, 2],
  ["a file renamed", { a: file(2) }, { b: file(2) }, 1, 1],
  [
    "longer, but cut in a line",
    { a: file(2) },
    { a: file(3, 350, "1", false) },
    2,
    2,
  ],
  [
    "a new file, cut in a line",
    { a: file(2) },
    { a: file(2), b: file(1, 90, "9", false) },
    2,
    2,
  ],
  [
    "another file without an end, whole",
    { a: file(2) },
    { a: file(3, 350, "2", false) },
    "used",
    "used",
  ],
  [
    "never had an end of line",
    { a: file(2, 200, "1", false) },
    { a: file(2, 200, "1", false) },
    "used",
    "used",
  ],
];

for (const [what, before, after, verdict, allowed] of rows)
  void t.test(what, (t) => {
    for (const [allow, expected] of [
      [false, verdict],
      [true, allowed],
    ] as const) {
      const doubt = atOnce(
        doubtOf(
          new Map(Object.entries(after)),
          new Map(Object.entries(before)),
          allow,
        ),
      );
      const said =
        doubt === undefined
          ? "used"
          : doubt.kind === "refuse"
            ? "refused"
            : doubt.ms / 1000;
      t.equal(
        said,
        expected,
        `${allow ? "--allow-shrink" : "as it is"}: ${doubt?.reason ?? "used"}`,
      );
    }
    t.end();
  });
