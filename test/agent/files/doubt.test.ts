/** Half of what somebody means to write is told from what is meant, by comparison with the files before. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { doubtOf, type FileFacts } from "../../../src/agent/files/doubt.ts";

/** How it came to be what it is: written where it stands, put in its place whole, or by a link that was turned. */
type Way = "written" | "came" | "turned";

interface File extends Omit<FileFacts, "target"> {
  readonly way: Way;
}

const file = (
  count: number,
  bytes = count * 100,
  way: Way = "written",
  ended = true,
  signature = `${way} ${bytes}`,
): File => ({ count, bytes, way, ended, signature });

type Files = Record<string, File>;

/** Or the seconds until it is used. */
type Verdict = "used" | "refused" | 1 | 2 | 10;

const factsOf = (files: Files): Map<string, FileFacts> =>
  new Map(
    Object.entries(files).map(([name, { way, ...facts }]) => [
      name,
      { ...facts, target: way === "turned" ? `other/${name}` : name },
    ]),
  );

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
    { a: file(3, 300, "came") },
    "used",
    "used",
  ],
  ["as it is", { a: file(2) }, { a: file(2) }, "used", "used"],
  [
    "the same size, written again in place",
    { a: file(2) },
    { a: file(2, 200, "written", true, "later") },
    1,
    1,
  ],
  [
    "a new file beside one that is as it is",
    { a: file(2) },
    { a: file(2), b: file(1, 90, "written") },
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
    { a: file(0, 0, "came") },
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
    { a: file(3, 300, "came") },
    "used",
    "used",
  ],
  [
    "half, by a rename",
    { a: file(4) },
    { a: file(2, 200, "came") },
    "used",
    "used",
  ],
  [
    "less than half, by a rename",
    { a: file(5) },
    { a: file(2, 200, "came") },
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
    { a: file(3, 350, "written", false) },
    2,
    2,
  ],
  [
    "a new file, cut in a line",
    { a: file(2) },
    { a: file(2), b: file(1, 90, "written", false) },
    2,
    2,
  ],
  [
    "another file without an end, whole",
    { a: file(2) },
    { a: file(3, 350, "came", false) },
    "used",
    "used",
  ],
  [
    "more than before, by a link that is turned",
    { a: file(2) },
    { a: file(3, 300, "turned") },
    "used",
    "used",
  ],
  [
    "one less, by a link that is turned",
    { a: file(4) },
    { a: file(3, 300, "turned") },
    "used",
    "used",
  ],
  [
    "removed and made anew, as many as before",
    { a: file(2) },
    { a: file(2, 200, "written", true, "another inode") },
    1,
    1,
  ],
  [
    "removed and made anew, shorter",
    { a: file(2) },
    { a: file(2, 150, "written", true, "another inode") },
    2,
    2,
  ],
  [
    "a new file that came by a rename",
    { a: file(2) },
    { a: file(2), b: file(1, 90, "came") },
    "used",
    "used",
  ],
  [
    "one came, another is written",
    { a: file(2), b: file(2) },
    { a: file(3, 300, "came"), b: file(3, 300, "written", true, "later") },
    1,
    1,
  ],
  [
    "never had an end of line",
    { a: file(2, 200, "written", false) },
    { a: file(2, 200, "written", false) },
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
          factsOf(after),
          factsOf(before),
          (target) => after[target]?.way === "came",
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
