/** `wherry dev`: the demo, until it is asked to stop. */
import type { Command } from "commander";
import { resolve } from "node:path";
import { startDev, type Dev } from "../../demo/dev.ts";
import { untilStopped, type CliContext } from "../context.ts";
import { SIDECAR_FLAGS } from "../../runtime/node-flags.ts";
import { option } from "../settings.ts";
import { painter, type Paint } from "../table.ts";

interface DevCommandOptions {
  readonly state: string;
  readonly load: boolean;
  readonly anyPorts?: boolean;
}

export function registerDev(program: Command, context: CliContext): void {
  program
    .command("dev")
    .description(
      "run a mesh on this machine: control plane, a small shop, a sidecar for each instance",
    )
    .addOption(
      option(
        "--state <directory>",
        "directory for certificates, resources, logs and orders",
        ".wherry",
      ),
    )
    .option("--no-load", "do not simulate customers")
    .option("--any-ports", "use any free ports")
    .action(async (options: DevCommandOptions) => {
      const paint = painter(context.colours);
      const dev = await startDev({
        stateDirectory: resolve(options.state),
        load: options.load,
        anyPorts: options.anyPorts === true,
        otlpEndpoint: context.environment["OTEL_EXPORTER_OTLP_ENDPOINT"],
        sidecarFlags: SIDECAR_FLAGS,
        clock: context.clock,
        progress: (text) => context.print(`${paint("dim", "·")} ${text}\n`),
        stop: context.stop,
      });
      context.lastResort?.protect({
        component: "dev",
        stateDirectory: options.state,
        inFlight: () => undefined,
      });
      context.print(welcome(dev, options, paint));
      await untilStopped(context);
      context.print(
        `\n${paint("dim", "·")} stopping: sidecars say goodbye, then the applications, then the control plane\n`,
      );
      await dev.close();
      context.print(`${paint("dim", "·")} all stopped\n`);
    });
}

function welcome(
  { shop }: Dev,
  options: DevCommandOptions,
  paint: Paint,
): string {
  const web = shop.instances[0];
  const at = (port: number | undefined): string =>
    `http://127.0.0.1:${port ?? 0}`;
  const shopUrl = at(shop.ports.web);
  const state = options.state === ".wherry" ? "" : ` --state ${options.state}`;
  const server =
    shop.ports.api === 15080 ? "" : ` --server ${at(shop.ports.api)}`;
  const wherry = (command: string): string =>
    paint(
      "cyan",
      `npx wherry ${command}${state}${/^(trace|demo)/.test(command) ? "" : server}`,
    );
  const urls: [string, string][] = [
    ["the shop", shopUrl],
    ["the API", `${at(shop.ports.api)}/openapi.json`],
    [
      "web's sidecar",
      `${at(web?.ports.outbound)} (calls out), ${at(web?.ports.admin)}/clusters (admin), ${at(web?.ports.metrics)}/metrics`,
    ],
    ["traces", `${at(shop.ports.control)}/traces`],
    ["state and logs", `${options.state}, ${options.state}/logs`],
  ];
  const width = Math.max(...urls.map(([name]) => name.length));
  return `
${paint("bold", "The shop is open.")}

${urls.map(([name, url]) => `  ${name.padEnd(width)}  ${paint("cyan", url)}`).join("\n")}

${paint("bold", "Three things to try")}, in another terminal:

  1. See a call cross the mesh:
       ${paint("cyan", `curl ${shopUrl}/`)}
       ${wherry("trace")}
  2. Forbid it, look, and allow it again:
       ${wherry("apply -f config/try/deny.yaml")}
       ${paint("cyan", `curl -i ${shopUrl}/`)}
       ${wherry("delete -f config/try/deny.yaml")}
  3. Send one payment in ten to version 2, then take an instance away and see nothing happen:
       ${wherry("apply -f config/try/split.yaml")}
       ${wherry("demo kill payments-v1-1")}
       ${wherry("status")}

Ctrl-C stops everything.
`;
}
