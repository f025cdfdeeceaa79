/** What an error of this machine makes of a connection: a failure of our own, counted as one, and no word of the other end. */
import { messageOf } from "../core/errors.ts";
import { isOfTheMachine } from "../core/machine/again.ts";
import { countMachineError } from "../core/machine/machine-counts.ts";
import { MeshError } from "../mesh/errors.ts";

/** Why there is no connection to `where`; undefined where that is not the machine's doing. */
export function machineError(
  where: string,
  thrown: unknown,
): MeshError | undefined {
  if (!isOfTheMachine(thrown)) return undefined;
  countMachineError("connection", thrown);
  return new MeshError(
    "MACHINE_ERROR",
    `${where}: this machine cannot connect: ${messageOf(thrown)}`,
    { unprocessed: true, cause: thrown },
  );
}

/** A connection to an endpoint broke, for `cause` where there is one. */
export function lossOfConnection(
  detail: string,
  unprocessed: boolean,
  cause: unknown,
): MeshError {
  const code = isOfTheMachine(cause) ? "MACHINE_ERROR" : "UPSTREAM_RESET";
  return new MeshError(code, detail, { unprocessed, cause });
}

/** Counts what broke a connection, on either side, where it was the machine. */
export function countBroken(thrown: unknown): void {
  if (isOfTheMachine(thrown)) countMachineError("connection", thrown);
}
