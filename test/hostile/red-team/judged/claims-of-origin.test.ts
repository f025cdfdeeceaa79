/** A stranger says where it comes from, in every field that an application may believe; over both versions of HTTP (RFC 7239 8.1, law 5). */
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import t from "tap";
import { resource, withPair, type Pair } from "../../../support/meshes/pair.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import {
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";

const LIE = "203.0.113.66";

/** Each with a value that Flask's ProxyFix, Express's "trust proxy" or a hand-written look at it would believe. */
const CLAIMS: Pairs = [
  ["x-forwarded-for", LIE],
  ["x_forwarded_for", LIE],
  ["forwarded", `for=${LIE};proto=https;host=admin.shop`],
  ["x-real-ip", LIE],
  ["x-client-ip", LIE],
  ["true-client-ip", LIE],
  ["cf-connecting-ip", LIE],
  ["x-cluster-client-ip", LIE],
  ["x-envoy-external-address", LIE],
  ["x-envoy-internal", "true"],
  ["x-original-forwarded-for", LIE],
  ["x-forwarded-proto", "https"],
  ["x-forwarded-host", "admin.shop"],
  ["x-forwarded-port", "443"],
  ["x-forwarded-prefix", "/admin"],
  ["x-forwarded-user", "root"],
  ["x-original-url", "/admin"],
  ["x-rewrite-url", "/admin"],
  ["client-cert", ":bGll:"],
  ["x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/root"],
  ["x-wherry-deadline", "1"],
];

type Seen = Readonly<Record<string, unknown>>;

/** The application's echo of its head. */
type Ask = (pair: Pair, claims: Pairs) => Promise<Seen>;

function inHttp1(port: number, claims: Pairs): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const headers = { host: "orders.shop", ...Object.fromEntries(claims) };
    httpRequest(
      { port, host: "127.0.0.1", headers, agent: false },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve(echoed(text)));
      },
    )
      .on("error", reject)
      .end();
  });
}

async function inHttp2(port: number, claims: Pairs): Promise<Seen> {
  const peer = new RawPeer(connect({ port, host: "127.0.0.1" }), false);
  const fields: Pairs = [
    [":method", "GET"],
    [":scheme", "http"],
    [":authority", "orders.shop"],
    [":path", "/"],
    ...claims,
  ];
  peer.send(PREFACE, settings(), SETTINGS_ACK, headers(1, fields));
  const { payload } = await peer.next(0, 1);
  peer.socket.destroy();
  return echoed(payload.toString());
}

function echoed(text: string): Seen {
  return (JSON.parse(text) as { headers: Seen }).headers;
}

const published = (pair: Pair): number =>
  [...pair.callee.ports.published.values()][0] ?? 0;
const STRANGERS: Readonly<Record<string, Ask>> = {
  "in HTTP/1": (pair, claims) => inHttp1(published(pair), claims),
  "in HTTP/2": (pair, claims) => inHttp2(published(pair), claims),
};

const open = resource("PeerAuthentication", "open", {
  selector: { matchLabels: { app: "orders" } },
  mtls: { mode: "PERMISSIVE" },
});

for (const [how, ask] of Object.entries(STRANGERS))
  void t.test(
    `${how}: the application is told what the socket says, and none of the claims`,
    async (t) => {
      await withPair(
        {
          calleePublish: true,
          resources: [open],
        },
        async (pair) => {
          const seen = await ask(pair, CLAIMS);
          for (const [name, value] of CLAIMS)
            t.not(seen[name], value, `${name}: ${value} is not believed`);
          t.equal(seen["x-forwarded-for"], "127.0.0.1");
          t.equal(seen["x-forwarded-proto"], "http");
          const names = Object.keys(seen).filter(
            (name) => !["connection", "te", "traceparent"].includes(name),
          );
          t.strictSame(names.sort(), [
            "host",
            "x-forwarded-for",
            "x-forwarded-proto",
          ]);
        },
      );
    },
  );

void t.test(
  "a proxy that is trusted is believed, but for identities",
  async (t) => {
    await withPair(
      {
        calleePublish: true,
        callee: { trustedProxies: ["127.0.0.0/8"] },
        resources: [open],
      },
      async (pair) => {
        for (const ask of Object.values(STRANGERS)) {
          const seen = await ask(pair, CLAIMS);
          t.equal(seen["x-forwarded-for"], LIE);
          t.equal(seen["x-real-ip"], LIE);
          t.equal(seen["x-forwarded-client-cert"], undefined);
          t.equal(seen["x-wherry-deadline"], undefined);
        }
      },
    );
  },
);

void t.test(
  "a peer with a certificate is believed, but for identities",
  async (t) => {
    await withPair({}, async (pair) => {
      const { text } = await pair.call({
        headers: Object.fromEntries(CLAIMS),
      });
      const seen = echoed(text);
      t.equal(seen["x-forwarded-for"], LIE);
      t.equal(seen["x-forwarded-client-cert"], undefined);
    });
  },
);
