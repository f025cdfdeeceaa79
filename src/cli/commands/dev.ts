/** `wherry dev`: the demo, until it is asked to stop. */
import type { Command } from "commander";
import { resolve } from "node:path";
import { startDev, type Dev } from "../../demo/dev.ts";
import type { Obstacle } from "../../demo/http.ts";
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
      if (dev.obstacle !== undefined)
        context.print(obstacleText(dev.obstacle, dev, options, paint));
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
  const shopUrl = at(shop.ports.web);
  const wherry = (command: string): string =>
    paint("cyan", commandLine(command, shop, options));
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

const at = (port: number | undefined): string =>
  `http://127.0.0.1:${port ?? 0}`;

/** A command, with what it needs to find this demo. */
function commandLine(
  command: string,
  { ports }: Dev["shop"],
  options: DevCommandOptions,
): string {
  const state = options.state === ".wherry" ? "" : ` --state ${options.state}`;
  const server = ports.api === 15080 ? "" : ` --server ${at(ports.api)}`;
  return `npx wherry ${command}${state}${/^(trace|demo)/.test(command) ? "" : server}`;
}

/** The kinds of the policies that make a call fail, by the reason that they give. */
const KINDS: Readonly<Record<string, string>> = {
  DENIED: "authorizationpolicy",
  FAULT_INJECTED: "faultinjection",
};

/** What an earlier run left behind, most often. */
function obstacleText(
  { status, text, reason, policy }: Obstacle,
  { shop }: Dev,
  options: DevCommandOptions,
  paint: Paint,
): string {
  const wherry = (command: string): string =>
    paint("cyan", commandLine(command, shop, options));
  if (policy === undefined)
    return `
${paint("red", `Its page responds with ${status}`)}: ${text.slice(0, 200).replaceAll(/\s+/g, " ")}
  See the sidecars with:        ${wherry("status")}
  To begin anew, stop the demo and remove ${options.state}.
`;
  const [namespace = "", name = ""] = policy.split("/");
  const kind = KINDS[reason ?? ""];
  const fix =
    kind === undefined
      ? `See the sidecars with:  ${wherry("status")}`
      : `Delete it with:  ${wherry(`delete ${kind} ${name} -n ${namespace}`)}`;
  return `
${paint("red", `Its page responds with ${status}, because of the policy`)} ${policy} (${reason ?? ""}).
  ${fix}
`;
}
