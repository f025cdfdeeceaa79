/** Calls to an external issuer: JSON by HTTPS, bounded in time and size, without redirects. What proves this end is read from its files for each call, so that it may be replaced. */
import type { Agent } from "undici";
import { messageOf, UserError } from "../../core/errors.ts";
import { readSecret, readTrusted } from "../../core/secret-file.ts";
import { isObject } from "../../core/text/json.ts";
import { isExposed } from "../../core/text/network.ts";
import { textWithin } from "../../core/text/text-within.ts";
import { lookupOf } from "../../runtime/fetch/guarded-lookup.ts";
import type { Bytes } from "../../core/units.ts";

export interface IssuerServer {
  /** PEM of the authorities that the server's certificate leads to; absent: those of the system. */
  readonly caFile?: string;
  /** What this end proves itself with, where the server asks for it. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
}

/** The response was a status that says no. */
export class IssuerStatus extends Error {
  override readonly name = "IssuerStatus";
  readonly status: number;

  constructor(status: number, text: string) {
    super(`it responded with ${status}${text === "" ? "" : `: ${text}`}`);
    this.status = status;
  }
}

/** Bytes of an response, and characters of one that are reported. */
const LONGEST = 256 * 1024;
const MOST_TOLD = 300;
const CONNECTIONS = 16;
/** They share look-ups: each would hold a thread of its own while no name server responds. */
const lookup = lookupOf("", undefined);
/** Milliseconds. */
const CONNECT = 5000;
const KEEP_ALIVE = 4000;

/** Throws UserError. */
export function issuerUrl(text: string, flag: string): URL {
  const url = URL.parse(text);
  if (
    url === null ||
    !["http:", "https:"].includes(url.protocol) ||
    url.username !== "" ||
    url.password !== ""
  )
    throw new UserError(
      `invalid ${flag} ${text}: expected an address with https and without credentials`,
    );
  if (isExposed(url))
    throw new UserError(
      `invalid ${flag} ${text}: expected https, since what proves this control plane goes there; http is for this machine alone`,
    );
  return url;
}

export class IssuerClient {
  readonly #server: IssuerServer;
  #agent: { readonly key: string; readonly open: Agent } | undefined;

  constructor(server: IssuerServer) {
    this.#server = server;
  }

  /** The object that the path responds with. Rejects with IssuerStatus, or the reason why there is none. */
  async post(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: object,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const { request } = await import("../../runtime/undici.ts");
    const { statusCode, body: response } = await request(url, {
      method: "POST",
      dispatcher: await this.#connected(),
      headers: {
        ...headers,
        "content-type": "application/json",
        accept: "application/json",
        "user-agent": "wherry",
      },
      body: JSON.stringify(body),
      signal,
    });
    const text = await textWithin(response, LONGEST, tooLong);
    if (statusCode !== 200) throw new IssuerStatus(statusCode, shown(text));
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new Error("its response is not JSON");
    }
    if (!isObject(parsed)) throw new Error("its response is not a JSON object");
    return parsed;
  }

  async close(): Promise<void> {
    const agent = this.#agent?.open;
    this.#agent = undefined;
    await agent?.destroy();
  }

  /** Another one once a file has another text; requests on the one before end as they would have. */
  async #connected(): Promise<Agent> {
    const { caFile, certificateFile, keyFile } = this.#server;
    const [ca, cert, key] = await Promise.all([
      caFile === undefined ? undefined : readText(caFile, "--issuer-ca"),
      certificateFile === undefined
        ? undefined
        : readText(certificateFile, "--issuer-certificate"),
      keyFile === undefined
        ? undefined
        : readSecret(keyFile, "the issuer's client key"),
    ]);
    const text = JSON.stringify([ca, cert, key]);
    const present = this.#agent;
    if (present?.key === text) return present.open;
    const { Agent } = await import("../../runtime/undici.ts");
    const open = new Agent({
      connections: CONNECTIONS,
      pipelining: 1,
      maxResponseSize: LONGEST,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
      connect: {
        timeout: CONNECT,
        lookup,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert, key }),
      },
    });
    this.#agent = { key: text, open };
    present?.open.close().catch(() => undefined);
    return open;
  }
}

async function readText(file: string, flag: string): Promise<string> {
  try {
    return await readTrusted(file);
  } catch (thrown) {
    throw new UserError(`${flag} ${file}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function tooLong(limit: Bytes): Error {
  return new Error(`its response is longer than ${limit} bytes`);
}

/** One line of what a server says, for the log. */
function shown(text: string): string {
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .slice(0, MOST_TOLD)
    .trim();
}
