/** `wherry wait -- COMMAND`: starts an application once its sidecar carries calls, so that its first call is not refused. */
import type { Command } from "commander";
import { wait, type Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import { DEFAULT_PORTS } from "../../proxy/downstream/ports.ts";
import { becomeProgram, findProgram } from "../../runtime/program.ts";
import { readBody } from "../answers.ts";
import type { CliContext } from "../context.ts";
import { option } from "../settings.ts";
import { durationOption } from "../sidecar-settings.ts";

interface WaitOptions {
  readonly metricsPort: string;
  readonly timeout: string;
  readonly application?: boolean;
}

/** Milliseconds between two questions, and until a question without an answer is given up. */
const AGAIN = 100;
const ANSWER_TIMEOUT = 1000;
/** Bytes: a line for each check. */
const LONGEST_PAGE = 65_536;

export function registerWait(program: Command, context: CliContext): void {
  program
    .command("wait")
    .description("start an application once its sidecar is ready")
    .argument("[command...]", "the application; without one, only waits")
    .addOption(
      option(
        "--metrics-port <port>",
        "the sidecar's port of metrics and readiness, on this machine",
        String(DEFAULT_PORTS.metrics),
      ),
    )
    .addOption(
      option(
        "--timeout <duration>",
        "how long to wait before it fails, such as 30s",
        "60s",
      ),
    )
    .addOption(
      option(
        "--application",
        "wait until the application beside the sidecar answers, too",
      ),
    )
    .action((command: readonly string[], options: WaitOptions) =>
      waitFor(context, command, options),
    );
}

async function waitFor(
  context: CliContext,
  [name, ...rest]: readonly string[],
  options: WaitOptions,
): Promise<void> {
  const { environment } = context;
  const timeout = durationOption("--timeout", options.timeout);
  // A wrong name is reported at once, not after the wait.
  const file =
    name === undefined
      ? undefined
      : await findProgram(name, environment["PATH"]);
  if (name !== undefined && file === undefined)
    throw new UserError(
      `there is no program ${name}: give its path, or a name that PATH leads to`,
    );
  const query = options.application === true ? "?application" : "";
  await untilReady(
    context,
    `http://127.0.0.1:${options.metricsPort}/readyz${query}`,
    timeout,
  );
  if (file !== undefined && name !== undefined)
    becomeProgram(file, [name, ...rest]);
}

/** Throws UserError with what the sidecar said last where it is not ready in time. */
async function untilReady(
  { clock, stop }: CliContext,
  url: string,
  timeout: number,
): Promise<void> {
  const deadline = clock.now() + timeout;
  const release = keepAlive();
  try {
    for (;;) {
      const { ready, text } = await ask(clock, url);
      if (ready) return;
      if (clock.now() >= deadline)
        throw new UserError(
          `the sidecar was not ready within ${timeout} ms: ${text.trim()}`,
        );
      await wait(clock, AGAIN, stop);
    }
  } finally {
    release();
  }
}

async function ask(
  clock: Clock,
  url: string,
): Promise<{ readonly ready: boolean; readonly text: string }> {
  // Loaded here: what waits for nothing makes no call.
  const { request } = await import("../../runtime/undici.ts");
  const late = new AbortController();
  const cancel = clock.after(ANSWER_TIMEOUT, () =>
    late.abort(new UserError(`${url} did not respond`)),
  );
  try {
    const { statusCode, body } = await request(url, { signal: late.signal });
    const text = await readBody(body, LONGEST_PAGE);
    return { ready: statusCode === 200, text };
  } catch (error) {
    return { ready: false, text: messageOf(error) };
  } finally {
    cancel();
  }
}
