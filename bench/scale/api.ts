/** The control plane's API as the measurement uses it: writes, tokens and what the status tells of pushes. */
import { Pool } from "undici";
import { UserError } from "../../src/core/errors.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { pathOf } from "../../src/cli/paths.ts";

export interface MeshStatus {
  readonly sidecars: readonly {
    readonly name: string;
    readonly connected: boolean;
    readonly pending: boolean;
    readonly acknowledged?: { readonly revision: number };
  }[];
  readonly statistics: Readonly<Record<string, number>>;
}

export class Api {
  readonly #pool: Pool;
  readonly #token: string;

  constructor(port: number, token: string) {
    this.#pool = new Pool(`http://127.0.0.1:${port}`, {
      connections: 16,
      headersTimeout: 120_000,
    });
    this.#token = token;
  }

  /** Resolves with the revision that it is now of. */
  async put(resource: Resource): Promise<number> {
    const written = await this.#ask<Resource>(
      "PUT",
      pathOf(resource),
      resource,
    );
    return Number(written.metadata.resourceVersion);
  }

  status(): Promise<MeshStatus> {
    return this.#ask("GET", "/status");
  }

  async enrolmentToken(
    namespace: string,
    serviceAccount: string,
    uses: number,
    more: {
      readonly labels?: Readonly<Record<string, string>>;
      readonly addresses?: readonly string[];
    } = {},
  ): Promise<string> {
    const body = { namespace, serviceAccount, uses, ...more };
    const made = await this.#ask<{ token: string }>(
      "POST",
      "/tokens/enrolment",
      body,
    );
    return made.token;
  }

  /** Whatever the status is. `retryAfter`: seconds. */
  async read(path: string): Promise<{
    readonly status: number;
    readonly text: string;
    readonly retryAfter: number;
  }> {
    const { statusCode, headers, body } = await this.#pool.request({
      method: "GET",
      path,
      headers: { authorization: `Bearer ${this.#token}` },
    });
    return {
      status: statusCode,
      text: await body.text(),
      retryAfter: Number(headers["retry-after"] ?? 1),
    };
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  async #ask<T>(
    method: "GET" | "PUT" | "POST",
    path: string,
    body?: unknown,
  ): Promise<T> {
    const response = await this.#pool.request({
      method,
      path,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300)
      throw new UserError(
        `${method} ${path} gives ${response.statusCode}: ${text.slice(0, 500)}`,
      );
    return JSON.parse(text) as T;
  }
}
