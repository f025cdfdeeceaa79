/** A real issuer (oidc-provider): its tokens while it rotates its keys, and while it is dead, slow or wrong (trap 6). */
import { createServer, type RequestListener } from "node:http";
import t from "tap";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";
import {
  listening,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import { eventually } from "../../../support/peers/call.ts";
import { keySetText, testKey, token } from "../../../support/tokens/issuer.ts";
import {
  AUDIENCE,
  CLIENT,
  startOidcIssuer,
  type Ailment,
  type OidcIssuer,
} from "../../../support/tokens/oidc-issuer.ts";
import { policyOf, tokensOf } from "../../../support/tokens/token-mesh.ts";

const first = await testKey("ES256", "k1");
const second = await testKey("PS256", "k2");
const third = await testKey("ES256", "k3");
const fourth = await testKey("Ed25519", "k4");

/** Milliseconds: between fetches that tokens ask for, of one fetch, and to the next in any case. */
const BETWEEN = 10_001;
const TIMEOUT = 2000;
const REFRESH = 5 * 60_000;

interface Scene {
  readonly issuer: OidcIssuer;
  readonly pair: Pair;
  /** Of the callee. */
  readonly clock: FakeClock;
  /** "200", or the status and the reason's code. */
  readonly becomes: (token: string) => Promise<string>;
  /** Has the callee forget the issuer and begin anew. */
  readonly anew: () => void;
  /** Waits until the callee has asked the issuer for what `make` has it ask for. */
  asked(make: () => void): Promise<void>;
}

async function withIssuer(use: (scene: Scene) => Promise<void>): Promise<void> {
  const issuer = await startOidcIssuer(first);
  const clock = fakeClock({ wall: Date.now(), random: () => 0.5 });
  const resources = [
    tokensOf([
      {
        issuer: issuer.address,
        audiences: [AUDIENCE],
        timeout: `${TIMEOUT}ms`,
      },
    ]),
    policyOf({
      rules: [
        {
          from: [
            { source: { requestPrincipals: [`${issuer.address}/${CLIENT}`] } },
          ],
        },
      ],
    }),
  ];
  const mesh = { privateFetch: { hosts: ["127.0.0.1"] } };
  try {
    await withPair({ mesh, resources, callee: { clock } }, (pair) =>
      use({
        ...{ issuer, pair, clock },
        async becomes(token) {
          const { status, reason } = await pair.call({
            headers: { authorization: `Bearer ${token}` },
          });
          const code = reason?.split(";")[0];
          return code === undefined ? String(status) : `${status} ${code}`;
        },
        anew() {
          pair.apply([]);
          pair.apply(resources);
        },
        async asked(make) {
          const before = issuer.asked.length;
          make();
          await until(() => issuer.asked.length > before);
        },
      }),
    );
  } finally {
    issuer.close();
  }
}

/** Four callers that ask the issuer for a token each time, and what became of their calls. */
class Callers {
  readonly results = new Map<string, number>();
  readonly #running: Promise<unknown>;
  #resting: Promise<undefined> | undefined;
  #calling = 0;
  #stopped = false;

  constructor(scene: Scene) {
    this.#running = Promise.all([1, 2, 3, 4].map(() => this.#run(scene)));
  }

  /** No call is in flight meanwhile: for one, the clock's leap would be its end. */
  async rest(leap: () => unknown): Promise<void> {
    const rested = Promise.withResolvers<undefined>();
    this.#resting = rested.promise;
    await until(() => this.#calling === 0);
    await leap();
    this.#resting = undefined;
    rested.resolve(undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run({ issuer, becomes }: Scene): Promise<void> {
    while (!this.#stopped) {
      while (this.#resting !== undefined) await this.#resting;
      this.#calling += 1;
      const result = await becomes(await issuer.token());
      this.#calling -= 1;
      this.results.set(result, (this.results.get(result) ?? 0) + 1);
    }
  }
}

void t.test("three rotations while calls go on", async (t) => {
  await withIssuer(async (scene) => {
    const { issuer, pair, clock, becomes } = scene;
    t.equal((await pair.call()).status, 403, "without a token");
    let old = await issuer.token();
    t.equal(await becomes(old), "200");
    const callers = new Callers(scene);
    let signer = first;
    for (const key of [second, third, fourth]) {
      await callers.rest(() => {
        clock.advance(BETWEEN);
      });
      await issuer.rotate(key, signer);
      const young = await issuer.token();
      t.equal(await becomes(young), "200", "the new key");
      t.equal(await becomes(old), "200", "the one before it, still published");
      await issuer.rotate(key);
      t.equal(await becomes(old), "200", "nobody has heard that it is retired");
      await callers.rest(() => scene.asked(() => clock.advance(REFRESH)));
      await eventually(
        "the retired key is refused",
        60_000,
        () => becomes(old),
        (result) => result === "401 TOKEN_INVALID",
      );
      t.equal(await becomes(young), "200");
      [old, signer] = [young, key];
    }
    await callers.stop();
    t.strictSame([...callers.results.keys()], ["200"]);
  });
});

const forged = await testKey("ES256", "forged");

/** A document of OpenID, and the attacker's keys wherever it leads. */
const says =
  (document: object): RequestListener =>
  ({ url = "" }, response) =>
    response.end(
      url.includes("openid") ? JSON.stringify(document) : keySetText(forged),
    );

/** By the attacker's address and its own: what the issuer does in place of its work. */
const AILMENTS: readonly (readonly [
  what: string,
  ailment: (elsewhere: string, own: string) => NonNullable<Ailment>,
])[] = [
  ["dead", () => "resets"],
  ["slow", () => () => undefined],
  ["failing", () => (_request, response) => response.writeHead(500).end()],
  ["not JSON", () => (_request, response) => response.end("<html></html>")],
  [
    "too large",
    (_elsewhere, own) =>
      says({ issuer: own, jwks_uri: `${own}/x`, x: "x".repeat(300_000) }),
  ],
  [
    "another issuer",
    (elsewhere, own) => says({ issuer: elsewhere, jwks_uri: `${own}/x` }),
  ],
  [
    "one with keys at a private address",
    (elsewhere, own) => says({ issuer: own, jwks_uri: `${elsewhere}/x` }),
  ],
  [
    "a redirect to a private address",
    (elsewhere) => (_request, response) =>
      response.writeHead(302, { location: `${elsewhere}/x` }).end(),
  ],
];

void t.test("dead, slow or wrong", async (t) => {
  let stolen = 0;
  const attacker = createServer((_request, response) => {
    stolen += 1;
    response.end(keySetText(forged));
  });
  const elsewhere = `http://127.0.0.2:${await listening(attacker, "127.0.0.2")}`;
  await withIssuer(async (scene) => {
    const { issuer, clock, becomes } = scene;
    const good = await issuer.token();
    const bad = await token(forged, {
      claims: { iss: issuer.address, aud: AUDIENCE, sub: CLIENT },
    });
    t.equal(await becomes(good), "200");
    for (const [what, ailment] of AILMENTS) {
      issuer.ailment = ailment(elsewhere, issuer.address);
      await scene.asked(() => clock.advance(REFRESH));
      if (what === "slow") clock.advance(TIMEOUT);
      t.equal(await becomes(good), "200", `${what}: keys from before serve`);
      t.equal(
        await becomes(bad),
        "401 TOKEN_INVALID",
        `${what}: and no others`,
      );
      await scene.asked(scene.anew);
      const unheard = becomes(good);
      if (what === "slow") clock.advance(TIMEOUT);
      t.equal(await unheard, "401 TOKEN_KEYS_UNAVAILABLE", what);
      issuer.ailment = undefined;
      // It tries again within 2 s.
      await scene.asked(() => clock.advance(2000));
      t.equal(await becomes(good), "200", `no longer ${what}`);
    }
  });
  t.equal(stolen, 0, "nobody was asked at the private address");
  attacker.close();
});
