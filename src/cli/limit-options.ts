/** The options of `wherry sidecar` that set limits, and what their texts mean. The reference has all limits. */
import type { Command } from "commander";
import { UserError } from "../core/errors.ts";
import type { LimitOptions } from "../proxy/downstream/limits.ts";
import { option } from "./settings.ts";

export interface LimitCommandOptions {
  readonly maxConnections?: string;
  readonly maxConnectionsPerAddress?: string;
  readonly minBodyRate?: string;
  readonly maxMemory?: string;
}

const MIB = 1_048_576;

export function withLimitOptions(command: Command): Command {
  return command
    .addOption(
      option(
        "--max-connections <number>",
        "connections that callers may have open; 16384, or as many as there are file descriptors for",
      ),
    )
    .addOption(
      option(
        "--max-connections-per-address <number>",
        "of these, from one address; an identity may have four times as many; 1024",
      ),
    )
    .addOption(
      option(
        "--min-body-rate <bytes>",
        "a request body that comes more slowly, a second, is a 408; 240; 0 is without",
      ),
    )
    .addOption(
      option(
        "--max-memory <MiB>",
        "memory of this process, near which it takes no more; what the container may use without it",
      ),
    );
}

export function limitsOf(options: LimitCommandOptions): LimitOptions {
  const connections = numberOf(
    "--max-connections",
    options.maxConnections,
    1,
    1,
  );
  const connectionsPerAddress = numberOf(
    "--max-connections-per-address",
    options.maxConnectionsPerAddress,
    1,
    1,
  );
  const bodyRate = numberOf("--min-body-rate", options.minBodyRate, 0, 1);
  const memoryBytes = numberOf("--max-memory", options.maxMemory, 1, MIB);
  return {
    ...(connections === undefined ? {} : { connections }),
    ...(connectionsPerAddress === undefined ? {} : { connectionsPerAddress }),
    ...(bodyRate === undefined ? {} : { bodyRate }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
  };
}

function numberOf(
  flag: string,
  text: string | undefined,
  least: number,
  unit: number,
): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < least)
    throw new UserError(
      `invalid ${flag} ${text}: expected a whole number of at least ${least}`,
    );
  return number * unit;
}
