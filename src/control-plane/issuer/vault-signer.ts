/** The PKI of Vault, and of OpenBao: certificates by `sign/ROLE`, with a token of a file or of a login that is made anew before it ends. */
import type { Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import { readSecret } from "../../core/secret-file.ts";
import { isObject } from "../../core/text/json.ts";
import type { MonotonicMs } from "../../core/units.ts";
import { encodeBinding, Oid } from "../../identity/extensions.ts";
import { readToken, type RemoteSigner } from "./http-issuer.ts";
import type { Asked } from "./issued-chain.ts";
import { IssuerStatus, type IssuerClient } from "./issuer-client.ts";

/** How a token of Vault is had. */
export type VaultAccess =
  | { readonly kind: "token"; readonly file: string }
  /** `file`: the JSON that is sent, such as AppRole's; or, with a role, a JSON Web Token, such as that of a Kubernetes account. */
  | {
      readonly kind: "login";
      readonly url: URL;
      readonly file: string;
      readonly role?: string;
    };

/** Share of a token's life after which another one is asked for. */
const RENEW_AT = 2 / 3;
/** Milliseconds for a login, however long those that wait for it have yet. */
const LOGIN = 10_000;
/** Milliseconds after a login whose token was refused, too, in which no refusal leads to another: each leaves a lease in Vault. */
const NO_LOGIN = 10_000;

export function vaultSigner(
  client: IssuerClient,
  url: URL,
  access: VaultAccess,
  clock: Pick<Clock, "now" | "after">,
): RemoteSigner {
  const tokens = new VaultTokens(client, access, clock);
  return {
    async sign(asked, signal) {
      const post = (token: string): Promise<Record<string, unknown>> =>
        client.post(url, { "x-vault-token": token }, bodyOf(asked), signal);
      const token = await tokens.get();
      try {
        return chainOf(await post(token));
      } catch (thrown) {
        // The token was taken back, or Vault has forgotten it: a login gives another.
        if (!isRefusal(thrown) || !tokens.forget(token)) throw thrown;
      }
      try {
        return chainOf(await post(await tokens.get()));
      } catch (thrown) {
        if (isRefusal(thrown)) tokens.wasOfNoUse();
        throw thrown;
      }
    },
  };
}

function isRefusal(thrown: unknown): boolean {
  return thrown instanceof IssuerStatus && thrown.status === 403;
}

function bodyOf({ csr, spiffeId, binding, seconds }: Asked): object {
  const bound = encodeBinding(binding).toString("base64url");
  return {
    csr,
    uri_sans: spiffeId,
    other_sans: `${Oid.BINDING};UTF8:${bound}`,
    ttl: `${seconds}s`,
    exclude_cn_from_sans: true,
    format: "pem",
  };
}

function chainOf({ data }: Record<string, unknown>): string {
  const {
    certificate,
    ca_chain: chain,
    issuing_ca: issuer,
  } = isObject(data) ? data : {};
  if (typeof certificate !== "string")
    throw new Error("its response has no data.certificate");
  const above: readonly unknown[] = Array.isArray(chain) ? chain : [issuer];
  return [certificate, ...above]
    .filter((each) => typeof each === "string")
    .join("\n");
}

class VaultTokens {
  readonly #client: IssuerClient;
  readonly #access: VaultAccess;
  readonly #clock: Pick<Clock, "now" | "after">;
  #login: Promise<string> | undefined;
  #token: string | undefined;
  #until: MonotonicMs = -Infinity;
  #noLoginUntil: MonotonicMs = -Infinity;

  constructor(
    client: IssuerClient,
    access: VaultAccess,
    clock: Pick<Clock, "now" | "after">,
  ) {
    this.#client = client;
    this.#access = access;
    this.#clock = clock;
  }

  /** All that ask meanwhile share a login, which goes on where the first of them gives up. */
  async get(): Promise<string> {
    const access = this.#access;
    if (access.kind === "token") return readToken(access.file);
    if (this.#token !== undefined && this.#clock.now() < this.#until)
      return this.#token;
    this.#login ??= this.#logInTimely(access).finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  /** Whether another one can be had in its place. */
  forget(token: string): boolean {
    if (this.#access.kind !== "login" || this.#clock.now() < this.#noLoginUntil)
      return false;
    if (this.#token === token) this.#token = undefined;
    return true;
  }

  /** Also the token of a new login is refused: it is not the token's fault. */
  wasOfNoUse(): void {
    this.#noLoginUntil = this.#clock.now() + NO_LOGIN;
  }

  async #logInTimely(
    access: Extract<VaultAccess, { kind: "login" }>,
  ): Promise<string> {
    const late = new AbortController();
    const cancel = this.#clock.after(LOGIN, () =>
      late.abort(new Error(`the login was not over within ${LOGIN / 1000} s`)),
    );
    try {
      return await this.#logIn(access, late.signal);
    } finally {
      cancel();
    }
  }

  async #logIn(
    { url, file, role }: Extract<VaultAccess, { kind: "login" }>,
    signal: AbortSignal,
  ): Promise<string> {
    const secret = (await readSecret(file, "the issuer's login")).trim();
    const began = this.#clock.now();
    const body =
      role === undefined ? parse(secret, file) : { role, jwt: secret };
    const { auth } = await this.#client.post(url, {}, body, signal);
    const { client_token: token, lease_duration: seconds } = isObject(auth)
      ? auth
      : {};
    if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token))
      throw new Error("its response to the login has no auth.client_token");
    // 0: it does not end.
    const life =
      typeof seconds === "number" && seconds > 0 ? seconds : Infinity;
    this.#token = token;
    this.#until = began + life * 1000 * RENEW_AT;
    return token;
  }
}

function parse(text: string, file: string): object {
  try {
    const parsed: unknown = JSON.parse(text);
    if (isObject(parsed)) return parsed;
  } catch {
    // Said below, without the text: it is a secret.
  }
  throw new UserError(
    `the issuer's login ${file}: expected a JSON object, such as {"role_id":"…","secret_id":"…"}, or --issuer-login-role`,
  );
}
