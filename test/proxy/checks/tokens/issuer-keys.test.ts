/** The keys of an issuer that rotates them, is dead, lies, or is asked by forged tokens (trap 6). */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import pino from "pino";
import t from "tap";
import { systemClock, type Clock } from "../../../../src/core/clock.ts";
import {
  readToken,
  type UnverifiedToken,
} from "../../../../src/identity/jwt/token.ts";
import { IssuerKeys } from "../../../../src/proxy/checks/tokens/issuer-keys.ts";
import {
  keySetText,
  testKey,
  token,
  type TestKey,
} from "../../../support/tokens/issuer.ts";

const first = await testKey("ES256", "k1");
const second = await testKey("ES256", "k2");

async function unverified(key: TestKey): Promise<UnverifiedToken> {
  const read = readToken(await token(key));
  if (!read.ok) throw new Error(read.why);
  return read.token;
}

interface Issuer {
  readonly address: string;
  /** What it responds with; undefined: 500. */
  document: string | undefined;
  asked: string[];
}

async function withIssuer(
  use: (
    issuer: Issuer,
    make: (kind?: "discovery") => IssuerKeys,
    clock: { ahead: number },
  ) => Promise<void>,
): Promise<void> {
  const time = { ahead: 0 };
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + time.ahead,
  };
  const issuer: Issuer = { address: "", document: undefined, asked: [] };
  const server = createServer(({ url = "" }, response) => {
    issuer.asked.push(url);
    const { document } = issuer;
    if (document === undefined) response.writeHead(500).end();
    else if (url.includes("openid"))
      response.end(
        JSON.stringify({
          issuer: issuer.address,
          jwks_uri: `${issuer.address}/keys`,
        }),
      );
    else response.end(document);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const made: IssuerKeys[] = [];
  const named = { ...issuer, address: `http://127.0.0.1:${port}` };
  Object.assign(issuer, named);
  const make = (kind: "keys" | "discovery" = "keys"): IssuerKeys => {
    const address = kind === "keys" ? `${issuer.address}/keys` : issuer.address;
    const keys = new IssuerKeys(
      { kind, id: kind, address, timeout: 5000 },
      {
        clock,
        logger: pino({ level: "silent" }),
        allowance: { hosts: ["127.0.0.1"], ranges: [] },
      },
    );
    made.push(keys);
    return keys;
  };
  try {
    await use(issuer, make, time);
  } finally {
    for (const keys of made) keys.close();
    server.closeAllConnections();
    server.close();
  }
}

const found = async (
  keys: IssuerKeys,
  asked: UnverifiedToken,
): Promise<number | undefined> => (await keys.keysFor(asked))?.keys.length;

void t.test(
  "a new key is fetched for the first token that has it",
  async (t) => {
    const [old, young] = [await unverified(first), await unverified(second)];
    await withIssuer(async (issuer, make, time) => {
      issuer.document = keySetText(first);
      const keys = make();
      t.equal(await found(keys, old), 1);
      const { held } = keys;
      issuer.document = keySetText(first, second);
      time.ahead += 11_000;
      t.equal(await found(keys, young), 1);
      t.not(keys.held, held, "other keys are another object");
      issuer.document = keySetText(second);
      time.ahead += 11_000;
      t.equal(
        await found(keys, await unverified(await testKey("ES256", "k3"))),
        0,
      );
      t.equal(await found(keys, old), 0, "what was withdrawn is gone");
    });
  },
);

void t.test(
  "forged key IDs make no more fetches than one in 10 s",
  async (t) => {
    const forged = await unverified(await testKey("ES256", "forged"));
    await withIssuer(async (issuer, make, time) => {
      issuer.document = keySetText(first);
      const keys = make();
      t.equal(await found(keys, await unverified(first)), 1);
      const { held } = keys;
      for (let count = 0; count < 200; count += 1)
        t.equal(await found(keys, forged), 0);
      t.equal(issuer.asked.length, 1);
      time.ahead += 11_000;
      await Promise.all(Array.from({ length: 200 }, () => found(keys, forged)));
      t.equal(issuer.asked.length, 2);
      t.equal(keys.held, held, "the same keys are the same object");
    });
  },
);

void t.test(
  "without keys there are none, and those from before serve for a day",
  async (t) => {
    const good = await unverified(first);
    const young = await unverified(second);
    await withIssuer(async (issuer, make, time) => {
      const keys = make();
      t.equal(await found(keys, good), undefined, "an issuer that fails");
      for (const document of [
        "",
        "[]",
        "{}",
        '{"keys":{}}',
        "x".repeat(300_000),
      ]) {
        issuer.document = document;
        time.ahead += 11_000;
        t.equal(await found(keys, good), undefined, document.slice(0, 10));
      }
      issuer.document = '{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"k1"}]}';
      time.ahead += 11_000;
      t.equal(await found(keys, good), 0, "a symmetric key is none");
      issuer.document = keySetText(first);
      time.ahead += 11_000;
      t.equal(await found(keys, good), 1);
      issuer.document = undefined;
      time.ahead += 3_600_000;
      t.equal(await found(keys, young), 0);
      t.equal(await found(keys, good), 1, "stale, but there");
      time.ahead += 24 * 3_600_000;
      t.equal(await found(keys, good), undefined, "too old");
    });
  },
);

void t.test("the OpenID document says where the keys are", async (t) => {
  const good = await unverified(first);
  await withIssuer(async (issuer, make) => {
    issuer.document = keySetText(first);
    t.equal(await found(make("discovery"), good), 1);
    t.strictSame(issuer.asked, ["/.well-known/openid-configuration", "/keys"]);
  });
});
