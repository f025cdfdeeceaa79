/** A stream that stays open is judged again when the rules for tokens change, and by the claims that its token had when policies change. */
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { until, withPair } from "../../../support/meshes/pair.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../../../support/peers/websocket.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../../support/tokens/issuer.ts";
import { policyOf, tokensOf } from "../../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const carol = await token(key, { claims: { sub: "carol", aud: "shop" } });

const rule = { issuer: ISSUER, jwks: keySetText(key) };
const bySubject = (...subjects: string[]): Resource =>
  policyOf({
    action: "ALLOW",
    rules: [
      { when: [{ key: "request.auth.claims[sub]", values: subjects }] },
      { to: [{ operation: { paths: ["/open"] } }] },
    ],
  });

/** With a token, and without one. */
type Ends = "both" | "with" | "neither";

const ROWS: readonly (readonly [
  what: string,
  next: readonly Resource[],
  ends: Ends,
  reason?: string,
])[] = [
  ["the same rules", [tokensOf([rule]), bySubject("carol")], "neither"],
  [
    "another rule beside the token's",
    [
      tokensOf([rule]),
      tokensOf([{ ...rule, issuer: "https://other.example" }], "other"),
      bySubject("carol"),
    ],
    "neither",
  ],
  [
    "the token's rule is for another audience",
    [tokensOf([{ ...rule, audiences: ["bank"] }]), bySubject("carol")],
    "with",
    "TOKEN_INVALID",
  ],
  [
    "nothing but another issuer's rule",
    [
      tokensOf([{ ...rule, issuer: "https://other.example" }]),
      bySubject("carol"),
    ],
    "with",
    "TOKEN_INVALID",
  ],
  // Nobody vouches for the claims any more.
  ["no rule", [bySubject("carol")], "with", "NOT_ALLOWED"],
  [
    "the policy asks for other claims",
    [tokensOf([rule]), bySubject("dave")],
    "with",
    "NOT_ALLOWED",
  ],
  [
    "the policy refuses those without a token too",
    [
      tokensOf([rule]),
      policyOf({
        action: "DENY",
        rules: [{ from: [{ source: { notRequestPrincipals: ["x/*"] } }] }],
      }),
    ],
    "both",
    "DENIED",
  ],
];

for (const [what, next, ends, reason] of ROWS)
  void t.test(what, async (t) => {
    const app = new WebSocketApplication();
    const before = [tokensOf([rule]), bySubject("carol")];
    await withPair(
      {
        caller: { upstream: [{ port: 0, to: "orders.shop" }] },
        rawApp: () => app.accept,
        resources: before,
      },
      async (pair) => {
        const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
        const open = async (
          path: string,
          fields: Readonly<Record<string, string>>,
        ): Promise<RawClient> => {
          const client = await RawClient.open(
            port,
            handshake(fields, `GET ${path} HTTP/1.1`),
          );
          await until(() => client.head !== "" || client.closed);
          return client;
        };
        const refused = await open("/", {});
        t.equal(refused.status, 403);
        const bearer = await open("/", { Authorization: `Bearer ${carol}` });
        const bare = await open("/open", {});
        t.same([bearer.status, bare.status], [101, 101]);
        pair.log.length = 0;
        pair.apply(next);
        const ended = [
          ...(ends === "neither" ? [] : [bearer]),
          ...(ends === "both" ? [bare] : []),
        ];
        for (const client of ended) {
          await until(() => client.closed);
          const [last] = client.frames.slice(-1);
          t.equal(last && closeOf(last).code, 1008);
        }
        if (reason !== undefined)
          t.ok(
            pair.log.some((record) => record.reason === reason),
            reason,
          );
        for (const client of [bearer, bare]) {
          if (ended.includes(client)) continue;
          client.socket.write(frame(0x81, "still there", true));
          await until(() => client.frames.length > 0);
          t.notOk(client.closed);
        }
        for (const client of [refused, bearer, bare]) client.socket.destroy();
      },
    );
  });
