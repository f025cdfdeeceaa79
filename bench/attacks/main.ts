/**
 * `node bench/attacks/main.ts [ATTACK,…]`: what attacks at one sidecar cost a good caller, each by itself and then all together, with
 * `--together` only the latter. The sidecar has the second core, everybody else the first, so give it a machine of two cores on which
 * nothing else runs. Calls that go straight to the application meanwhile tell what the attackers take of the caller's own core.
 */
import { closeCalls } from "../../test/support/peers/call.ts";
import {
  warmUp,
  type Windows,
} from "../../test/support/hostile/good-caller.ts";
import { startLoneSidecar } from "../../test/support/processes/lone-sidecar.ts";
import {
  ATTACKS,
  besiege,
  type Siege,
} from "../../test/support/hostile/under-attack.ts";
import { readArguments, readWhole, runMain } from "../arguments.ts";

const MIB = 1_048_576;
const LARGE = Buffer.alloc(MIB / 16);

async function siege(
  attacks: readonly string[],
  connections: number,
  windows: number,
): Promise<Siege> {
  const sidecar = await startLoneSidecar(
    (request, response) => {
      request.on("error", () => undefined);
      request.resume();
      request.on("end", () =>
        response.end(request.url === "/large" ? LARGE : "ok"),
      );
    },
    ["--max-memory", "256"],
  );
  try {
    await warmUp(sidecar);
    return await besiege(sidecar, {
      connections,
      windows,
      attacks,
      pinned: true,
      straight: 4,
    });
  } finally {
    await sidecar.stop();
  }
}

const median = (numbers: readonly number[]): string =>
  (
    [...numbers].sort((one, two) => one - two)[
      Math.floor(numbers.length / 2)
    ] ?? Number.NaN
  ).toFixed(1);
/** The median of windows, and the worst of them. */
const windowsOf = ({ p99 }: Windows): string =>
  `${median(p99)} (${Math.max(...p99).toFixed(1)})`;
const mib = (bytes: number): string => (bytes / MIB).toFixed(0);

const USAGE = `node bench/attacks/main.ts [ATTACK,…] [options]

  --connections 500    of each attack
  --windows 8          of calls, in each of which the 99th percentile is taken
  --together           only all at once
`;

async function main(): Promise<void> {
  const { values, positionals } = readArguments(
    process.argv.slice(2),
    {
      connections: { type: "string", default: "500" },
      windows: { type: "string", default: "8" },
      together: { type: "boolean", default: false },
    },
    USAGE,
  );
  const connections = readWhole("connections", values.connections, 1);
  const windows = readWhole("windows", values.windows, 1);
  const chosen = positionals[0]?.split(",") ?? ATTACKS;
  process.stdout.write(HEADING);
  const rounds = values.together ? [] : chosen.map((attack) => [attack]);
  if (chosen.length > 1) rounds.push([...chosen]);
  for (const attacks of rounds)
    process.stdout.write(
      rowOf(attacks, connections, await siege(attacks, connections, windows)),
    );
  closeCalls();
}

const HEADING =
  "| attack, connections each | p99 quiet, under attack, straight to the application meanwhile, after, ms: median of windows (worst) | calls lost | core | resident before, most, after, MiB | service back, ms |\n| --- | --- | --- | --- | --- | --- |\n";

function rowOf(
  attacks: readonly string[],
  connections: number,
  { quiet, during, straight, after, resident, cpu, recovery }: Siege,
): string {
  const name =
    attacks.length === 1 ? (attacks[0] ?? "") : `all ${attacks.length} at once`;
  const cells = [
    `${name}, ${connections}`,
    [quiet, during, straight, after]
      .flatMap((windows) => (windows === undefined ? [] : [windowsOf(windows)]))
      .join(" / "),
    String(during.failures.length),
    `${Math.round(cpu * 100)} %`,
    [resident.before, resident.most, resident.after].map(mib).join(" / "),
    recovery.toFixed(0),
  ];
  return `| ${cells.join(" | ")} |\n`;
}

await runMain(main);
