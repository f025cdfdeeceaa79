/** `npm run bench -- costs`: what single steps of a request cost, in this process and without a network. */
import { readArguments } from "../arguments.ts";
import { AUTHORIZATION } from "./authorization.ts";
import { costOf, type CostRow } from "./measure.ts";
import { TOKENS } from "./tokens.ts";

const USAGE = `npm run bench -- costs [ROW …]

What single steps of a request cost, in ns: in this process, warm, without a network.
ROW: only the rows whose names begin so.
`;

const ROWS: readonly CostRow[] = [...AUTHORIZATION, ...TOKENS];

export async function costs(argv: readonly string[]): Promise<void> {
  const { values, positionals } = readArguments(
    argv,
    { help: { type: "boolean", short: "h", default: false } },
    USAGE,
  );
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const rows = ROWS.filter(
    ({ name }) =>
      positionals.length === 0 ||
      positionals.some((beginning) => name.startsWith(beginning)),
  );
  process.stdout.write("| step | p50 ns | p99 ns | aimed at |\n");
  process.stdout.write("| ---- | -----: | -----: | -------- |\n");
  for (const { name, open, atMost } of rows) {
    const { p50, p99 } = costOf(await open());
    const isOver = atMost !== undefined && p50 > atMost;
    const aim =
      atMost === undefined
        ? ""
        : `p50 ≤ ${atMost}: **${isOver ? "missed" : "met"}**`;
    process.stdout.write(
      `| ${name} | ${p50.toFixed(0)} | ${p99.toFixed(0)} | ${aim} |\n`,
    );
    if (isOver) process.exitCode = 1;
  }
}
