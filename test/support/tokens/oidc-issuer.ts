/** A real issuer, which is oidc-provider in this process: it signs by the newest of its keys, and can be dead, slow or wrong. */
import { createServer, type RequestListener } from "node:http";
import { exportJWK, type JWK } from "jose";
import { Provider } from "oidc-provider";
import { request } from "undici";
import { listening } from "../meshes/pair.ts";
import type { TestKey } from "./issuer.ts";

/** Whom its tokens are for, and who asks for them. */
export const AUDIENCE = "urn:shop";
export const CLIENT = "web";
const SECRET = "a secret of the client";

/** Seconds. */
const LIFE = 3 * 24 * 3600;

/** What it does in place of its work: a listener, or the end of each connection. */
export type Ailment = RequestListener | "resets" | undefined;

export interface OidcIssuer {
  readonly address: string;
  /** What it was asked for, tokens left out: a path, or a connection that it reset. */
  readonly asked: string[];
  ailment: Ailment;
  /** Publishes these keys from now on, and signs by the first of them. */
  rotate(...keys: readonly TestKey[]): Promise<void>;
  /** An access token that it signs now, by the client's credentials (RFC 6749 4.4, RFC 9068). */
  token(): Promise<string>;
  close(): void;
}

export async function startOidcIssuer(
  ...keys: readonly TestKey[]
): Promise<OidcIssuer> {
  let works: RequestListener = (_request, response) => response.end();
  const server = createServer((incoming, response) => {
    const { url = "" } = incoming;
    const { asked, ailment } = issuer;
    if (url !== "/token") asked.push(url);
    const ill = typeof ailment === "function" && url !== "/token";
    (ill ? ailment : works)(incoming, response);
  });
  server.prependListener("connection", (socket) => {
    if (issuer.ailment !== "resets") return;
    issuer.asked.push("a connection");
    socket.resetAndDestroy();
  });
  const address = `http://127.0.0.1:${await listening(server)}`;
  const issuer: OidcIssuer = {
    address,
    asked: [],
    ailment: undefined,
    async rotate(...next) {
      works = await providerOf(address, next);
    },
    token: () => tokenOf(address),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  await issuer.rotate(...keys);
  return issuer;
}

async function providerOf(
  address: string,
  keys: readonly TestKey[],
): Promise<RequestListener> {
  const secrets = await Promise.all(keys.map(secretOf));
  const [first] = keys;
  return new Provider(address, {
    jwks: { keys: secrets },
    adapter: Nothing,
    clients: [
      {
        ...{ client_id: CLIENT, client_secret: SECRET },
        ...{ grant_types: ["client_credentials"] },
        ...{ redirect_uris: [], response_types: [] },
      },
    ],
    clientDefaults: { id_token_signed_response_alg: first?.algorithm },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: () => ({
          ...{ scope: "read write", audience: AUDIENCE },
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: first?.algorithm } },
        }),
      },
    },
    ttl: { ClientCredentials: LIFE },
  }).callback();
}

async function secretOf({ id, algorithm, secret }: TestKey): Promise<JWK> {
  return { ...(await exportJWK(secret)), kid: id, alg: algorithm, use: "sig" };
}

/** A store: tokens that are JWTs are in none. */
class Nothing {
  find(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
}

async function tokenOf(address: string): Promise<string> {
  const { statusCode, body } = await request(`${address}/token`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${CLIENT}:${encodeURIComponent(SECRET)}`)}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: "grant_type=client_credentials&scope=read",
  });
  const answer = (await body.json()) as { access_token?: string };
  if (answer.access_token === undefined)
    throw new Error(`${statusCode} ${JSON.stringify(answer)}`);
  return answer.access_token;
}
