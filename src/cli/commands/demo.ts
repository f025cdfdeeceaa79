/** `wherry demo`: starts, stops and kills the processes of the running demo; and, hidden, one application of it. */
import { join } from "node:path";
import type { Command } from "commander";
import { request } from "undici";
import { messageOf, UserError } from "../../core/errors.ts";
import { readLocalToken } from "../../core/local/local-token.ts";
import { expectOwnPort } from "../../core/local/port-owner.ts";
import { startApplication } from "../../demo/application.ts";
import type { Service } from "../../demo/call.ts";
import { makeCallers } from "../../demo/caller.ts";
import { DEMO_TOKEN_FILE } from "../../demo/control.ts";
import { readDevFile } from "../../demo/dev.ts";
import {
  catalogService,
  ordersService,
  paymentsService,
  webService,
  type Self,
} from "../../demo/services.ts";
import { untilStopped, type CliContext } from "../context.ts";
import { outputOption, printOutput } from "../output.ts";
import { option, portOf } from "../settings.ts";
import { table } from "../table.ts";

export function registerDemo(program: Command, context: CliContext): void {
  const demo = program
    .command("demo")
    .description("control the processes of the running demo");
  const state = option(
    "--state <directory>",
    "state directory of the demo",
    ".wherry",
  );
  demo
    .command("list")
    .description("list its processes")
    .addOption(state)
    .addOption(outputOption("json"))
    .action(
      async (options: { readonly state: string; readonly output?: string }) => {
        const processes = await ask(
          (await readDevFile(options.state)).control,
          "GET",
          "/processes",
        );
        printOutput(context, options, processes, () => processTable(processes));
      },
    );
  for (const [action, description] of [
    ["start", "start a stopped process"],
    ["stop", "stop a process gracefully (SIGTERM; a sidecar: SIGINT)"],
    ["kill", "kill a process (SIGKILL)"],
  ] as const) {
    demo
      .command(action)
      .description(description)
      .argument(
        "<process>",
        "process, such as payments-v1-1, catalog-1/app, catalog-1/sidecar or control-plane",
      )
      .addOption(state)
      .action(async (name: string, options: { readonly state: string }) => {
        const { control } = await readDevFile(options.state);
        const file = join(options.state, DEMO_TOKEN_FILE);
        const token = await readLocalToken(file);
        await expectOwnPort(new URL(control), file);
        context.print(
          processTable(
            await ask(control, "POST", `/processes/${action}/${name}`, token),
          ),
        );
      });
  }
  registerApplication(program, context);
}

interface ProcessRow {
  readonly name: string;
  readonly pid?: number;
  readonly running: boolean;
}

function processTable(processes: readonly ProcessRow[]): string {
  return table(
    ["PROCESS", "PID", "STATE"],
    processes.map((process) => [
      process.name,
      String(process.pid ?? ""),
      process.running ? "running" : "stopped",
    ]),
  );
}

async function ask(
  control: string,
  method: "GET" | "POST",
  path: string,
  token?: string,
): Promise<ProcessRow[]> {
  let answer: Awaited<ReturnType<typeof request>>;
  try {
    answer = await request(`${control}${path}`, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      headersTimeout: 30_000,
    });
  } catch (error) {
    throw new UserError(
      `the demo does not respond at ${control} (${messageOf(error)}): start it with "npm start"`,
    );
  }
  const body = await answer.body.json();
  if (answer.statusCode !== 200)
    throw new UserError((body as { error: string }).error);
  return body as ProcessRow[];
}

interface ApplicationCommandOptions {
  readonly instance: string;
  readonly release: string;
  readonly port: string;
  readonly outboundPort: string;
  readonly database: string;
}

function registerApplication(program: Command, context: CliContext): void {
  program
    .command("demo-application", { hidden: true })
    .argument("<service>", "web, catalog, orders or payments")
    .requiredOption("--instance <name>", "its name")
    .requiredOption("--release <version>", "its version")
    .requiredOption("--port <port>", "where it listens")
    .requiredOption(
      "--outbound-port <port>",
      "port of its sidecar for its calls",
    )
    .requiredOption("--database <file>", "where orders are kept")
    .action(async (service: string, options: ApplicationCommandOptions) => {
      const callers = makeCallers({
        outboundPort: portOf("--outbound-port", options.outboundPort),
      });
      const application = await startApplication(
        {
          service,
          instance: options.instance,
          version: options.release,
          port: portOf("--port", options.port),
          clock: context.clock,
        },
        serviceNamed(
          service,
          { instance: options.instance, version: options.release },
          options.database,
        ),
        (traceHeaders) => callers.bind(traceHeaders),
      );
      await untilStopped(context);
      // What is in flight may have calls to make.
      await application.close();
      callers.close();
    });
}

function serviceNamed(service: string, self: Self, database: string): Service {
  switch (service) {
    case "web":
      return webService(self);
    case "catalog":
      return catalogService(self);
    case "orders":
      return ordersService(self, database);
    case "payments":
      return paymentsService(self);
    default:
      throw new UserError(`there is no demo service "${service}"`);
  }
}
