/** `wherry store`: which store the control plane serves from, and the word that sidecars may take another one's config. */
import { isObject } from "../../core/text/json.ts";
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import { bodyWith, textIn } from "../answers.ts";
import {
  connectApi,
  textOf,
  withServer,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { outputOption, printOutput } from "../output.ts";

export function registerStore(program: Command, context: CliContext): void {
  const store = program
    .command("store")
    .description("show or accept the control plane's store");
  withServer(store.command("show"))
    .description("show its id, kind and revision")
    .addOption(outputOption("json"))
    .action(async (options: ServerOptions & { readonly output?: string }) => {
      const { body } = await (
        await connectApi(context, options)
      ).call("GET", "/store");
      textIn(body, "id");
      printOutput(context, options, body, () => describe(body));
    });
  withServer(store.command("accept"))
    .description(
      "let sidecars replace their config with this store's, after a lost or restored database",
    )
    .argument("<id>", 'id, as "wherry store show" and "wherry status" print it')
    .action(async (id: string, options: ServerOptions) => {
      const { body } = await (
        await connectApi(context, options)
      ).call("POST", "/store/accept", { id });
      if (bodyWith(body, "accepted")["accepted"] !== true)
        throw new UserError(`store ${id} is not accepted`);
      context.print(
        `accepted: sidecars take the config of this store from now on\n${describe(body)}`,
      );
    });
}

function describe(body: unknown): string {
  const store = isObject(body) ? body : {};
  return `store ${textOf(store["id"])} (${textOf(store["kind"])}) at revision ${textOf(store["revision"])}\n`;
}
