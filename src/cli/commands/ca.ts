/** `wherry ca`: the roots that the mesh trusts, and their rotation: begun, followed, and led past sidecars that do not come back. */
import type { Command } from "commander";
import { wait } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import { isObject } from "../../core/text/json.ts";
import { bodyWith, itemsIn, textIn } from "../answers.ts";
import {
  connectApi,
  textOf,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { inOneLine, outputOption, printOutput } from "../output.ts";
import { plainOption } from "../settings.ts";
import { durationOption } from "../sidecar-settings.ts";

interface RotateOptions extends ServerOptions {
  readonly wait?: boolean;
  readonly timeout: string;
  readonly abandon?: readonly string[];
  readonly force?: boolean;
}

/** Milliseconds between two looks. */
const AGAIN = 500;
/** Sidecars that are named in a text. */
const MOST_NAMED = 20;

export function registerCa(program: Command, context: CliContext): void {
  const ca = program
    .command("ca")
    .description("show or rotate the root of the mesh's certificates");
  withServer(ca.command("status"))
    .description("show the trusted roots, and how far their rotation is")
    .addOption(outputOption("json"))
    .action(async (options: ServerOptions & { readonly output?: string }) => {
      const body = await readTrust(await connectApi(context, options));
      printOutput(context, options, body, () => describe(body));
    });
  withServer(ca.command("bundle"))
    .description("print the trusted roots as PEM, for sidecars on files")
    .action(async (options: ServerOptions) => {
      const body = await readTrust(await connectApi(context, options));
      const roots = itemsIn(body, "roots");
      // It is for a file, and sidecars would trust nobody by an empty one.
      if (roots.length === 0) throw new UserError("the mesh has no root");
      context.print(roots.map((root) => textIn(root, "certificate")).join(""));
    });
  withServer(ca.command("rotate"))
    .description(
      "put a new root in the place of the old one, or go on with the rotation in progress",
    )
    .addOption(plainOption("--wait", "follow it until the old root is retired"))
    .addOption(
      plainOption(
        "--timeout <duration>",
        "how long to follow it; it goes on after that, too",
        "1h",
      ),
    )
    .addOption(
      plainOption(
        "--abandon <sidecar...>",
        "go on without these sidecars, NAMESPACE/NAME: they may have to enrol again",
      ),
    )
    .addOption(
      plainOption("--force", "go on without every sidecar that is behind now"),
    )
    .action((options: RotateOptions) => rotate(context, options));
}

async function rotate(
  context: CliContext,
  options: RotateOptions,
): Promise<void> {
  const { abandon, force } = options;
  if (abandon !== undefined && force === true)
    throw new UserError("specify either --abandon or --force, not both");
  const timeout = durationOption("--timeout", options.timeout);
  const api = await connectApi(context, options);
  const { body } = await api.call("POST", "/trust/rotation", {
    ...(abandon === undefined ? {} : { abandon }),
    ...(force === undefined ? {} : { force }),
  });
  itemsIn(body, "roots");
  if (options.wait === true) await follow(context, api, timeout);
  else context.print(describe(body));
}

/** Prints each change. Throws UserError where the time is over, with the names of those that are behind. */
async function follow(
  context: CliContext,
  api: ApiClient,
  timeout: number,
): Promise<void> {
  const { clock, stop } = context;
  const deadline = clock.now() + timeout;
  const release = keepAlive();
  try {
    for (let told = ""; ;) {
      const body = await readTrust(api);
      const text = describe(body);
      if (text !== told) context.print(text);
      told = text;
      const { rotation } = body;
      if (!isObject(rotation)) return;
      if (clock.now() >= deadline)
        throw new UserError(
          `the rotation is not complete after ${timeout / 1000} s: ${waitsFor(rotation)}; it goes on, and wherry ca status shows it`,
        );
      await wait(clock, AGAIN, stop);
    }
  } finally {
    release();
  }
}

async function readTrust(
  api: ApiClient,
): Promise<Readonly<Record<string, unknown>>> {
  const { body } = await api.call("GET", "/trust");
  itemsIn(body, "roots");
  return bodyWith(body, "roots");
}

const PHASES: Readonly<Record<string, string>> = {
  add: "1 of 3: every sidecar gets the new root",
  reissue: "2 of 3: every sidecar gets a certificate of the new root",
  retire: "3 of 3: every sidecar drops the old root",
};

function describe(body: unknown): string {
  const { roots, rotation, last, sidecars, external } = isObject(body)
    ? body
    : {};
  const lines = listOf(roots).map(
    ({ fingerprint, notAfter, issues }) =>
      `root ${textOf(fingerprint).slice(0, 16)} until ${textOf(notAfter)}${issues === true ? ", issues certificates" : ""}`,
  );
  if (external !== undefined)
    lines.push(
      `an external issuer's roots are trusted; ${waitsFor({ behind: external })}`,
    );
  if (isObject(rotation))
    lines.push(
      `rotation, step ${PHASES[textOf(rotation["phase"])] ?? ""}`,
      waitsFor(rotation),
    );
  else
    lines.push(
      isObject(last)
        ? `no rotation in progress; the last was complete at ${textOf(last["finishedAt"])}`
        : "no rotation in progress",
    );
  return `${lines.join("\n")}\n${textOf(sidecars)} sidecars\n`;
}

function waitsFor({
  behind: listed,
  fault,
}: Readonly<Record<string, unknown>>): string {
  const behind = listOf(listed);
  if (behind.length === 0)
    return fault === undefined ? "waits for no sidecar" : textOf(fault);
  const named = behind
    .slice(0, MOST_NAMED)
    .map(
      ({ sidecar, why }) =>
        `\n  ${inOneLine(`${textOf(sidecar)}: ${textOf(why)}`)}`,
    );
  const more = behind.length - named.length;
  return `waits for ${behind.length}:${named.join("")}${more > 0 ? `\n  and ${more} more` : ""}`;
}

function listOf(value: unknown): readonly Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter((each) => isObject(each)) : [];
}
