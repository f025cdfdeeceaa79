/** The options of `wherry sidecar` that set limits, and what their texts mean. The reference has all limits. */
import type { Command } from "commander";
import { UserError } from "../core/errors.ts";
import {
  DEFAULT_LIMITS,
  type LimitOptions,
} from "../proxy/downstream/limits.ts";
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
        `open connections of callers; default: ${DEFAULT_LIMITS.connections}, or what the file descriptors allow`,
      ),
    )
    .addOption(
      option(
        "--max-connections-per-address <number>",
        `open connections from one address; an identity may have four times as many; default: ${DEFAULT_LIMITS.connectionsPerAddress}`,
      ),
    )
    .addOption(
      option(
        "--min-body-rate <bytes>",
        `bytes a second below which a request body gets 408; 0: no minimum; default: ${DEFAULT_LIMITS.bodyRate}`,
      ),
    )
    .addOption(
      option(
        "--max-memory <MiB>",
        "memory limit, near which requests are refused; default: what the container may use",
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
