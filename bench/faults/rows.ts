/** All rows of the table, in its order. */
import { UserError } from "../../src/core/errors.ts";
import type { Row } from "./row.ts";
import { blackHoleRows } from "./rows/black-hole.ts";
import { clockRows } from "./rows/clocks.ts";
import { cutRows } from "./rows/cut.ts";
import { machineRows } from "./rows/machine.ts";
import { madRows } from "./rows/mad.ts";
import { outageRows } from "./rows/outage.ts";
import { restartRows } from "./rows/restart.ts";

export function allRows(short: boolean): Row[] {
  return [
    ...cutRows(short),
    ...blackHoleRows(short),
    ...outageRows(short),
    ...clockRows(short),
    ...madRows(short),
    ...machineRows(short),
    ...restartRows(),
  ];
}

/** Those whose names begin so, whole parts of a name at a time; all where none is named. Throws UserError. */
export function chooseRows(
  rows: readonly Row[],
  names: readonly string[],
): readonly Row[] {
  for (const name of names)
    if (!rows.some((row) => isOf(row, name)))
      throw new UserError(
        `invalid row "${name}": expected the beginning of ${rows.map((row) => row.name).join(", ")}`,
      );
  return names.length === 0
    ? rows
    : rows.filter((row) => names.some((name) => isOf(row, name)));
}

function isOf({ name }: Row, start: string): boolean {
  return name === start || name.startsWith(`${start}/`);
}
