/** Law 9 where there is no call yet, or no mesh: requests that cannot be read, strangers, the sidecar's pages. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import t, { type Test } from "tap";
import { REASONS } from "../../src/mesh/reasons.ts";
import type { Code } from "../../src/mesh/reasons.ts";
import { localToken } from "../../src/core/local/local-token.ts";
import { startSidecar } from "../../src/sidecar/sidecar.ts";
import { REFUSALS } from "../../src/wire/refusal.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  memoryAgent,
  resource,
  send,
  withPair,
  type Pair,
  type PairOptions,
} from "../support/meshes/pair.ts";
import { traffic } from "../support/laws/reason-calls.ts";

/** By the name that the codec's table of refusals has for it. */
const UNREADABLE: readonly (readonly [keyof typeof REFUSALS, string])[] = [
  ["grammar", "GET / HTTP/1.1\r\nHost: orders.shop\r\nno field\r\n\r\n"],
  ["line", `GET /${"a".repeat(70_000)} HTTP/1.1\r\nHost: orders.shop\r\n\r\n`],
  [
    "expectation",
    "GET / HTTP/1.1\r\nHost: orders.shop\r\nExpect: the best\r\n\r\n",
  ],
  [
    "head",
    `GET / HTTP/1.1\r\nHost: orders.shop\r\nX: ${"a".repeat(70_000)}\r\n\r\n`,
  ],
  [
    "coding",
    "POST / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
  ],
  ["method", "NONSENSE / HTTP/1.1\r\nHost: orders.shop\r\n\r\n"],
  ["version", "GET / HTTP/1.9\r\nHost: orders.shop\r\n\r\n"],
  [
    "flood",
    `POST / HTTP/1.1\r\nHost: orders.shop\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\na\r\n".repeat(20_000)}`,
  ],
];

/** PERMISSIVE, so that strangers come as far as the rest of the policies. */
const OPEN: PairOptions["resources"] = [
  resource("PeerAuthentication", "open", {
    selector: { matchLabels: { app: "orders" } },
    mtls: { mode: "PERMISSIVE" },
  }),
];

/** All that is said in answer to `text` on a connection of its own. */
async function told(port: number | undefined, text: string): Promise<string> {
  const socket = connect(port ?? 0, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(text);
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
  await once(socket, "close");
  return answer;
}

function says(t: Test, answer: string, status: number, code: Code): void {
  t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
  t.match(answer, `\r\nx-wherry-reason: ${code}\r\n`);
  t.match(answer, `\r\n\r\n${REASONS[code].text}: `);
}

const published = ({ callee, instances }: Pair): number =>
  callee.ports.published.get(instances[0]?.appPort ?? 0) ?? 0;

void t.test(
  "law 9: what HTTP/1.1 cannot read is refused with its reason, to applications and to strangers",
  async (t) => {
    await withPair({ calleePublish: true, resources: OPEN }, async (pair) => {
      for (const port of [pair.caller.ports.outbound, published(pair)])
        for (const [kind, text] of UNREADABLE) {
          const { status, code } = REFUSALS[kind];
          says(t, await told(port, text), status, code);
        }
    });
    const { foreign, stalled, webSocketVersion, webSocketIgnored, ...rest } =
      REFUSALS;
    t.equal(webSocketVersion.status, 426, "see web-sockets-policy.test.ts");
    t.equal(webSocketIgnored.status, 501, "see web-sockets.test.ts");
    t.ok(foreign.silent, "the one that has no answer");
    t.equal(stalled.status, 408, "the one that takes its time: see below");
    t.same(
      UNREADABLE.map(([kind]) => kind).sort(),
      Object.keys(rest).sort(),
      "these are all",
    );
  },
);

void t.test("law 9: a head that does not come to its end too", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  await withPair({ clock }, async (pair) => {
    const answer = told(pair.caller.ports.outbound, "GET / HTTP/1.1\r\nHo");
    while (
      (await pair.metric(
        pair.caller,
        "wherry_connections",
        'kind="outbound"',
      )) === 0
    );
    clock.advance(5000);
    clock.advance(10_000);
    says(t, await answer, 408, "REQUEST_STALLED");
  });
});

void t.test("law 9: HTTP/2 refuses with its reason", async (t) => {
  await withPair({}, async (pair) => {
    const session = connectHttp2(
      `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
      { maxSendHeaderBlockLength: 1_000_000 },
    );
    session.on("error", () => undefined);
    for (const [headers, kind] of [
      [{ expect: "the best" }, "expectation"],
      [{ x: "a".repeat(70_000) }, "head"],
    ] as const) {
      const stream = session.request({
        ":authority": "orders.shop",
        ...headers,
      });
      stream.on("error", () => undefined);
      const [answer] = (await once(stream, "response")) as [
        Record<string, unknown>,
      ];
      t.match(answer, {
        ":status": REFUSALS[kind].status,
        "x-wherry-reason": REFUSALS[kind].code,
      });
    }
    session.destroy();
  });
});

void t.test("law 9: before there is any config", async (t) => {
  const sidecar = await startSidecar({
    agent: () => Promise.resolve(memoryAgent(undefined, undefined)),
    host: "127.0.0.1",
    ports: { outbound: 0, admin: 0 },
    accessLog: "none",
  });
  t.teardown(() => sidecar.destroy());
  const answer = await send(sidecar.ports.outbound ?? 0);
  t.match(answer, { status: 503, reason: "NO_CONFIG" });
});

interface Stranger {
  readonly code: Code;
  readonly pair?: PairOptions;
  readonly path?: string;
  readonly before?: (pair: Pair) => unknown;
}

const selector = { matchLabels: { app: "orders" } };
const dies: PairOptions["rawApp"] = () => (socket) => {
  socket.on("error", () => undefined);
  socket.once("data", () => socket.resetAndDestroy());
};

const STRANGERS: readonly Stranger[] = [
  { code: "MTLS_REQUIRED", pair: { resources: [] } },
  { code: "BAD_REQUEST", path: "/%00" },
  {
    code: "DENIED",
    pair: {
      resources: [
        resource("AuthorizationPolicy", "no", {
          selector,
          action: "DENY",
          rules: [{}],
        }),
      ],
    },
  },
  {
    code: "NOT_ALLOWED",
    pair: { resources: [resource("AuthorizationPolicy", "no", { selector })] },
  },
  {
    code: "RATE_LIMITED",
    pair: {
      resources: [traffic({ rateLimit: { requests: 1, interval: "1h" } })],
    },
    before: (pair) => send(published(pair)),
  },
  {
    code: "APPLICATION_UNREACHABLE",
    before: (pair) => pair.instances[0]?.app.close(),
  },
  { code: "UPSTREAM_RESET", pair: { rawApp: dies } },
];

for (const { code, pair: options, path, before } of STRANGERS)
  void t.test(
    `law 9: a stranger is told the sentence of ${code}, and no names`,
    async (t) => {
      const resources =
        code === "MTLS_REQUIRED"
          ? []
          : [...OPEN, ...(options?.resources ?? [])];
      await withPair(
        { ...options, calleePublish: true, resources },
        async (pair) => {
          await before?.(pair);
          const answer = await send(published(pair), {
            method: "POST",
            ...(path === undefined ? {} : { path }),
          });
          t.match(answer, {
            status: REASONS[code].response.status,
            reason: undefined,
            text: `${REASONS[code].text}.\n`,
          });
          t.ok(
            pair.log.some(({ reason }) => reason === code),
            "the log has the code",
          );
        },
      );
    },
  );

const PAGES: readonly (readonly [
  Code,
  "admin" | "metrics",
  Parameters<typeof send>[1],
])[] = [
  ["NO_PAGE", "admin", { host: "127.0.0.1", path: "/nothing" }],
  ["NO_PAGE", "metrics", { path: "/config" }],
  ["NOT_LOCAL", "admin", { host: "evil.example", path: "/config" }],
  [
    "CROSS_SITE",
    "admin",
    {
      host: "127.0.0.1",
      path: "/config",
      headers: { "sec-fetch-site": "cross-site" },
    },
  ],
  [
    "TOKEN_REQUIRED",
    "admin",
    { host: "127.0.0.1", method: "POST", path: "/drain" },
  ],
  ["NOT_READY", "metrics", { path: "/readyz" }],
  [
    "BAD_QUESTION",
    "admin",
    {
      host: "127.0.0.1",
      method: "POST",
      path: "/logging?level=loud",
      headers: { authorization: "Bearer secret" },
    },
  ],
];

void t.test("law 9: a sidecar's pages say their reasons", async (t) => {
  const sidecar = await startSidecar({
    agent: () => Promise.resolve(memoryAgent(undefined, undefined)),
    host: "127.0.0.1",
    metricsHost: "127.0.0.1",
    ports: { admin: 0, metrics: 0 },
    adminToken: localToken("/state/sidecar-admin.token", "secret"),
    accessLog: "none",
  });
  t.teardown(() => sidecar.destroy());
  for (const [code, page, ask] of PAGES) {
    const answer = await send(sidecar.ports[page] ?? 0, ask);
    t.match(answer, { status: REASONS[code].response.status, reason: code });
    t.match(answer.text, `${code}: `);
  }
  for (const [code, text] of [
    ["BAD_REQUEST", "GET / HTTP/1.1\r\nno field\r\n\r\n"],
    [
      "HEADERS_TOO_LARGE",
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(70_000)}\r\n\r\n`,
    ],
  ] as const)
    t.match(
      await told(sidecar.ports.metrics, text),
      new RegExp(
        `^HTTP/1\\.1 ${REASONS[code].response.status} [^]*\r\nx-wherry-reason: ${code}\r\n`,
      ),
    );
});
