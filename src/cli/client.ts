/** The control plane's REST API as the commands use it: one request, one response, and errors that say what to do. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Dispatcher } from "undici";
import { isObject } from "../core/text/json.ts";
import { wait } from "../core/clock.ts";
import { messageOf, systemCode, UserError } from "../core/errors.ts";
import { keepAlive } from "../core/keep-alive.ts";
import { expectOwnPort } from "../core/local/port-owner.ts";
import { isExposed } from "../core/text/network.ts";
import { withoutFinalSlashes } from "../core/text/url.ts";
import { readSecret, readTrusted } from "../core/secret-file.ts";
import type { Command } from "commander";
import type { CliContext } from "./context.ts";
import { LONGEST_RESPONSE, readBody } from "./answers.ts";
import { option } from "./settings.ts";

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  /** What the API accepted and finds odd all the same (its Warning fields). */
  readonly warnings: readonly string[];
}

export interface ApiClient {
  /** Resolves with any status below 500 that the caller named, and throws ApiError for the rest. */
  call(
    method: "GET" | "PUT" | "POST" | "DELETE",
    path: string,
    body?: unknown,
    accepted?: readonly number[],
  ): Promise<ApiAnswer>;
}

export interface Cause {
  /** Field path, like `spec.rules[0].timeouts.request`. */
  readonly field: string;
  readonly message: string;
}

/** The API refused; `causes` say which fields and why. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly causes: readonly Cause[];

  constructor(status: number, message: string, causes: readonly Cause[]) {
    super(message);
    this.status = status;
    this.causes = causes;
  }
}

/** Adds the options that every command needs that talks to the API. */
export function withServer(command: Command): Command {
  return command
    .addOption(
      option(
        "--server <url>",
        "URL of the control plane's API",
        "http://127.0.0.1:15080",
      ),
    )
    .addOption(
      option(
        "--token-file <file>",
        "file with the API token; default: WHERRY_TOKEN, then admin.token in the state directory",
      ),
    )
    .addOption(
      option(
        "--client-certificate <file>",
        "PEM certificate chain to show to the API in place of a token",
      ),
    )
    .addOption(
      option("--client-key <file>", "PEM private key of --client-certificate"),
    )
    .addOption(
      option(
        "--server-ca <file>",
        "PEM certificates of the authorities that the API's certificate may lead to; default: those of Node",
      ),
    )
    .addOption(
      option(
        "--state <directory>",
        "state directory of a control plane on this machine",
        ".wherry",
      ),
    );
}

export interface ServerOptions {
  readonly server: string;
  readonly tokenFile?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly serverCa?: string;
  readonly state: string;
}

export async function connectApi(
  context: CliContext,
  options: ServerOptions,
): Promise<ApiClient> {
  const base = withoutFinalSlashes(options.server);
  const tls = await tlsOf(options, base);
  // A token that is named goes before a certificate, as the API has it.
  const token =
    tls?.cert === undefined || options.tokenFile !== undefined
      ? await findToken(context, options)
      : undefined;
  if (token !== undefined) await checkPlace(base, token);
  const headers: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token.text}` };
  // Loaded here: a sidecar knows this module for its errors only, and makes no call.
  const { Agent, request } = await import("../runtime/undici.ts");
  const dispatcher =
    tls === undefined ? {} : { dispatcher: new Agent({ connect: tls }) };
  const send = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<Dispatcher.ResponseData> => {
    try {
      return await request(`${base}${path}`, {
        method,
        headers:
          body === undefined
            ? headers
            : { ...headers, "content-type": "application/json" },
        body: body === undefined ? null : JSON.stringify(body),
        headersTimeout: 30_000,
        signal: context.stop,
        ...dispatcher,
      });
    } catch (error) {
      throw unreachable(context, base, error);
    }
  };
  return {
    async call(method, path, body, accepted = []) {
      const answer = await untilServed(context, () => send(method, path, body));
      const text = await readBody(answer.body, LONGEST_RESPONSE).catch(
        (error: unknown) => {
          throw unreachable(context, base, error);
        },
      );
      const parsed = parseAnswer(context, base, path, text);
      if (answer.statusCode < 300 || accepted.includes(answer.statusCode))
        return {
          status: answer.statusCode,
          body: parsed,
          warnings: warningsOf(answer.headers["warning"]),
        };
      throw errorOf(context, base, answer.statusCode, parsed);
    },
  };
}

/** Repeats of a call that the control plane has put off, and the longest wait for one (seconds). */
const REPEATS = 5;
const LONGEST_WAIT = 30;

/** Asks again where the response is 429, when it says so: the control plane gives way to sidecars and writes. */
async function untilServed(
  context: CliContext,
  ask: () => Promise<Dispatcher.ResponseData>,
): Promise<Dispatcher.ResponseData> {
  for (let repeat = 1; ; repeat += 1) {
    const answer = await ask();
    if (answer.statusCode !== 429 || repeat > REPEATS) return answer;
    await answer.body.dump();
    const told = Number(answer.headers["retry-after"]);
    const seconds = told >= 1 ? Math.min(told, LONGEST_WAIT) : 1;
    context.complain(
      `the control plane is busy: trying again in ${seconds} s (${repeat} of ${REPEATS})\n`,
    );
    const release = keepAlive();
    try {
      await wait(context.clock, seconds * 1000, context.stop);
    } finally {
      release();
    }
  }
}

/** What connections to the API have besides; undefined where nothing is said. */
async function tlsOf(
  { clientCertificate, clientKey, serverCa }: ServerOptions,
  base: string,
): Promise<{ cert?: string; key?: string; ca?: string } | undefined> {
  if ((clientCertificate === undefined) !== (clientKey === undefined))
    throw new UserError(
      "--client-certificate and --client-key belong together",
    );
  if (clientCertificate === undefined && serverCa === undefined)
    return undefined;
  if (!base.startsWith("https:"))
    throw new UserError(
      `--client-certificate and --server-ca need an address that begins with https, and --server is ${base}`,
    );
  return {
    ...(clientCertificate === undefined || clientKey === undefined
      ? {}
      : {
          cert: await readPem(clientCertificate),
          key: await readSecret(clientKey, "the client certificate's key"),
        }),
    ...(serverCa === undefined
      ? {}
      : { ca: await readPem(serverCa, readTrusted) }),
  };
}

async function readPem(
  file: string,
  read = (path: string): Promise<string> => readFile(path, "utf8"),
): Promise<string> {
  try {
    return await read(file);
  } catch (error) {
    throw new UserError(`${file} cannot be read: ${messageOf(error)}`);
  }
}

interface Token {
  readonly text: string;
  /** Where the control plane has put it; undefined for one that was named, which may be for whatever is at --server. */
  readonly madeAt: string | undefined;
}

async function checkPlace(base: string, token: Token): Promise<void> {
  const url = URL.parse(base);
  if (url === null || url.protocol !== "http:") return;
  if (isExposed(url))
    throw new UserError(
      `invalid --server ${base}: expected https, since the token goes there; http is for this machine alone`,
    );
  if (token.madeAt !== undefined) await expectOwnPort(url, token.madeAt);
}

async function findToken(
  context: CliContext,
  options: ServerOptions,
): Promise<Token> {
  const { WHERRY_TOKEN: text } = context.environment;
  // An empty variable is as one that is not set, as for OpenTelemetry's.
  if (options.tokenFile === undefined && text !== undefined && text !== "")
    return { text, madeAt: undefined };
  const made = join(options.state, "admin.token");
  const file = options.tokenFile ?? made;
  try {
    return {
      text: (await readSecret(file, "the API token")).trim(),
      madeAt: options.tokenFile === undefined ? made : undefined,
    };
  } catch (error) {
    const { cause } = error as UserError;
    if (cause === undefined) throw error;
    throw new UserError(
      `no API token: ${file} cannot be read (${systemCode(cause) ?? messageOf(cause)}). Name a file with --token-file, set WHERRY_TOKEN, or name the control plane's state directory with --state`,
    );
  }
}

/** The texts of `Warning: 299 - "TEXT", 299 - "TEXT"` (RFC 7234 5.5, as Kubernetes sends them). */
function warningsOf(header: string | string[] | undefined): string[] {
  const text = Array.isArray(header) ? header.join(", ") : (header ?? "");
  return [...text.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map(
    ([, quoted = ""]) => quoted.replaceAll(/\\(.)/g, "$1"),
  );
}

function unreachable(
  { stop }: CliContext,
  base: string,
  error: unknown,
): unknown {
  if (stop.aborted) return stop.reason;
  if (error instanceof UserError) return error;
  const why = systemCode(error) ?? messageOf(error);
  return new UserError(
    `no control plane responds at ${base} (${why}): start one with "npm start" or "wherry control-plane", or name another with --server`,
  );
}

function parseAnswer(
  { environment }: CliContext,
  base: string,
  path: string,
  text: string,
): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UserError(
      `${base}${path} sends a response that is not JSON, so it is not the control plane's API: ${elsewhere(environment)}`,
    );
  }
}

/** What is not of the API's form comes from something between, such as a proxy, or from another server. */
function errorOf(
  { environment }: CliContext,
  base: string,
  status: number,
  body: unknown,
): Error {
  const fields = isObject(body) ? body : {};
  const message = textOf(fields["message"]);
  if (fields["kind"] !== "Status")
    return new UserError(
      `${base} responded with ${status}, but not as the control plane's API does${message === "" ? "" : ` ("${message.slice(0, 200)}")`}: ${elsewhere(environment)}`,
    );
  const details = isObject(fields["details"]) ? fields["details"] : {};
  const causes = Array.isArray(details["causes"])
    ? details["causes"].filter(isObject)
    : [];
  return new ApiError(
    status,
    message,
    causes.map((cause) => ({
      field: textOf(cause["field"]),
      message: textOf(cause["message"]),
    })),
  );
}

/** Variables of proxies, which Node heeds with NODE_USE_ENV_PROXY. */
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

function elsewhere(environment: CliContext["environment"]): string {
  const proxy = PROXIES.find((name) => (environment[name] ?? "") !== "");
  return proxy === undefined
    ? "check --server, and whether a proxy is on the way"
    : `the request may have gone to the proxy of ${proxy}; name the control plane's host in NO_PROXY`;
}

/** Text of a field that may be missing. */
export function textOf(value: unknown): string {
  return typeof value === "string"
    ? value
    : typeof value === "number" || typeof value === "boolean"
      ? String(value)
      : "";
}
