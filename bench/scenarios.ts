/** Every scenario, in the order in which they run. */
import { UserError } from "../src/core/errors.ts";
import { FAMILIES, type Family, type Scenario } from "./scenario.ts";
import { bodyScenarios } from "./scenarios/bodies.ts";
import { bulk } from "./scenarios/bulk.ts";
import { callScenarios } from "./scenarios/calls.ts";
import { growth } from "./scenarios/growth.ts";
import { h2Scenarios } from "./scenarios/h2.ts";
import { handshakes } from "./scenarios/handshakes.ts";
import { idleScenarios } from "./scenarios/idle.ts";
import { memory } from "./scenarios/memory.ts";
import { grpcStream, webSocket } from "./scenarios/messages.ts";
import { serial } from "./scenarios/serial.ts";
import { coldStart } from "./scenarios/start.ts";
import { withToken } from "./scenarios/token.ts";
import { tcp } from "./scenarios/tcp.ts";
import { workerScenarios } from "./scenarios/workers.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...callScenarios(),
  ...h2Scenarios(),
  serial,
  withToken,
  ...bodyScenarios(),
  bulk,
  webSocket,
  grpcStream,
  tcp,
  handshakes,
  ...idleScenarios(),
  coldStart,
  memory,
  ...workerScenarios(),
  growth,
];

/** What runs when nothing is named: what the project holds itself to. */
const DEFAULT: readonly Family[] = ["hop", "life"];

/** Scenarios by their names and the names of families, in their order; those of the default where nothing is named. */
export function choose(names: readonly string[]): Scenario[] {
  const families: readonly string[] = Object.keys(FAMILIES);
  const wanted = names.length === 0 ? DEFAULT : names;
  for (const name of wanted)
    if (
      !families.includes(name) &&
      !SCENARIOS.some((scenario) => scenario.name === name)
    )
      throw new UserError(
        `there is no scenario and no family "${name}"; npm run bench -- --list shows them`,
      );
  return SCENARIOS.filter(
    ({ name, families: own }) =>
      wanted.includes(name) || own.some((family) => wanted.includes(family)),
  );
}

/** For --list. */
export function listing(): string {
  const groups = Object.entries(FAMILIES).map(([family, meaning]) => {
    const lines = SCENARIOS.filter(({ families }) =>
      families.some((each) => each === family),
    ).map(({ name, title }) => `  ${name.padEnd(22)} ${title}\n`);
    return `${family}: ${meaning}\n${lines.join("")}`;
  });
  return groups.join("\n");
}
