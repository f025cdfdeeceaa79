/** Action CUSTOM through real sidecars: what an HTTP provider is asked, and what becomes of the request by what it says, or fails to say. */
import type { RequestListener } from "node:http";
import t from "tap";
import {
  allow,
  custom,
  echoed,
  withHttp,
} from "../../../support/checks/asking-pair.ts";
import { resource } from "../../../support/meshes/pair.ts";

const deny: RequestListener = (_request, response) => {
  response.writeHead(401, {
    "content-type": "text/html",
    "www-authenticate": "Bearer",
    "x-why": "no session",
    "x-internal": "secret",
    "x-wherry-reason": "NOT_ALLOWED",
    "x-forwarded-client-cert": "By=nobody",
  });
  response.end("<p>log in</p>");
};

void t.test(
  "HTTP: what it allows reaches the application, with what it may write",
  async (t) => {
    await withHttp(
      allow,
      {
        headersToApplication: ["x-user", "x-role-*"],
        headersToCallerOnAllow: ["set-cookie"],
      },
      async (pair, script) => {
        const answer = await pair.call({
          path: "/a/../b?q=1",
          headers: {
            "x-user": "mallory",
            x_user: "mallory",
            "x-role-admin": "yes",
            "x-trace": "t",
            cookie: "session=1",
            x_from: "mallory",
            x_envoy_auth_partial_body: "true",
          },
        });
        t.equal(answer.status, 200, answer.text);
        const [asked] = script.asked;
        t.equal(asked?.method, "GET");
        t.equal(asked?.url, "/check/b?q=1", "the path that is judged");
        t.match(asked?.headers, {
          host: "orders.shop",
          cookie: "session=1",
          "x-from": "mesh",
        });
        t.notOk(asked?.headers["x-trace"], "what is not listed stays here");
        for (const twin of ["x_from", "x_envoy_auth_partial_body"])
          t.notOk(asked?.headers[twin], twin);
        const { headers } = echoed(answer);
        t.equal(headers["x-user"], "alice", "the caller's own is gone");
        t.notOk(headers["x_user"], "by any spelling");
        t.notOk(headers["x-role-admin"], "also where it is not written anew");
        t.notOk(headers["x-other"]);
        t.equal(headers["x-trace"], "t");
        t.same(answer.headers["set-cookie"], ["a=1", "b=2"]);
        t.notOk(answer.headers["x-other"]);
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_authorization_provider_seconds_count",
            'provider="opa"',
            'result="allowed"',
          ),
          1,
        );
        t.ok(
          pair.spans.some(
            ({ attributes }) =>
              attributes["wherry.authorization_providers"] === "opa allowed",
          ),
        );
      },
      {},
      {
        pathPrefix: "/check",
        headersToProvider: ["cookie", "x-f*", "x-envoy-*"],
        addHeaders: [{ name: "X-From", value: "mesh" }],
      },
    );
  },
);

void t.test(
  "HTTP: what it denies gets its status, its page and what is listed",
  async (t) => {
    let reached = 0;
    await withHttp(
      deny,
      {
        headersToCallerOnDeny: [
          "x-why",
          "x-wherry-reason",
          "x-forwarded-client-cert",
        ],
      },
      async (pair) => {
        const answer = await pair.call();
        t.equal(answer.status, 401);
        t.equal(answer.text, "<p>log in</p>");
        t.equal(answer.reason, "PROVIDER_DENIED; policy=shop/ask-opa");
        t.match(answer.headers, {
          "content-type": "text/html",
          "www-authenticate": "Bearer",
          "x-why": "no session",
        });
        t.notOk(answer.headers["x-internal"]);
        t.notOk(answer.headers["x-forwarded-client-cert"]);
        t.equal(reached, 0, "the application never heard of it");
        t.match(
          pair.log.find(({ direction }) => direction === "inbound"),
          { status: 401, reason: "PROVIDER_DENIED", policy: "shop/ask-opa" },
        );
      },
      { app: () => () => (reached += 1) },
    );
  },
);

void t.test(
  "HTTP: only status 200 allows, and no denial looks like success",
  async (t) => {
    const rows = [
      [201, 403],
      [202, 403],
      [204, 403],
      [302, 302],
      [400, 400],
      [404, 404],
      [429, 429],
    ] as const;
    let status = 0;
    await withHttp(
      (_request, response) => response.writeHead(status).end(),
      {},
      async (pair) => {
        for (const [says, gets] of rows) {
          status = says;
          const answer = await pair.call();
          t.equal(answer.status, gets, `status ${says}`);
          t.match(answer.reason, /^PROVIDER_DENIED/);
        }
      },
    );
  },
);

const FAILURES: readonly {
  readonly what: string;
  readonly answer: RequestListener;
  readonly timeout?: string;
}[] = [
  {
    what: "status 500",
    answer: (_, response) => response.writeHead(500).end(),
  },
  {
    what: "status 503",
    answer: (_, response) => response.writeHead(503).end(),
  },
  {
    what: "what is not HTTP",
    answer: (request) => request.socket.end("garbage\r\n\r\n"),
  },
  {
    what: "a head that is too large",
    answer: (_, response) =>
      response.writeHead(200, { "x-large": "x".repeat(20_000) }).end(),
  },
  {
    what: "a connection that breaks",
    answer: (request) => request.socket.destroy(),
  },
  { what: "nothing, ever", answer: () => undefined, timeout: "50ms" },
  {
    what: "a head and no end",
    answer: (_, response) =>
      response.writeHead(200, { "content-length": "5" }).flushHeaders(),
    timeout: "50ms",
  },
];

for (const { what, answer, timeout = "20s" } of FAILURES)
  void t.test(`HTTP: it answers with ${what}`, async (t) => {
    for (const [failOpen, status] of [
      [false, 403],
      [true, 200],
    ] as const)
      await withHttp(
        answer,
        { timeout, failOpen, headersToApplication: ["x-user"] },
        async (pair) => {
          const got = await pair.call({ headers: { "x-user": "mallory" } });
          t.equal(got.status, status, got.text);
          if (failOpen) t.notOk(echoed(got).headers["x-user"]);
          else t.match(got.reason, /^PROVIDER_FAILED; policy=shop\/ask-opa/);
        },
      );
  });

const CUT_DENIALS: readonly {
  readonly what: string;
  readonly answer: RequestListener;
  readonly timeout?: string;
}[] = [
  {
    what: "18 KB of headers",
    answer: (_, response) =>
      response.writeHead(403, { "x-large": "x".repeat(18_000) }).end(),
  },
  {
    what: "a head that is cut off",
    answer: ({ socket }) =>
      socket.end("HTTP/1.1 403 Forbidden\r\nX-Why: no ses"),
  },
  {
    what: "a malformed line",
    answer: ({ socket }) =>
      socket.end("HTTP/1.1 403 Forbidden\r\nX Why: no\r\n\r\n"),
  },
  {
    what: "a connection that breaks in its head",
    answer: ({ socket }) => {
      socket.write("HTTP/1.1 403 Forbidden\r\nX-Why: no", () =>
        socket.resetAndDestroy(),
      );
    },
  },
  {
    what: "a head that never ends",
    answer: ({ socket }) => socket.write("HTTP/1.1 403 Forbidden\r\n"),
    timeout: "150ms",
  },
  {
    what: "an interim response ahead of it",
    answer: ({ socket }) =>
      socket.end("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\nX"),
  },
];

for (const { what, answer, timeout = "20s" } of CUT_DENIALS)
  void t.test(`a denial is one with ${what}`, async (t) => {
    await withHttp(answer, { timeout, failOpen: true }, async (pair) => {
      const got = await pair.call();
      t.equal(got.status, 403, got.text);
      t.match(got.reason, /^PROVIDER_DENIED; policy=shop\/ask-opa/);
    });
  });

void t.test(
  "what another request was told is no denial of this one",
  async (t) => {
    let asked = 0;
    await withHttp(
      (_request, response) => {
        asked += 1;
        if (asked === 1) response.writeHead(403).end();
        else response.socket?.destroy();
      },
      { failOpen: true },
      async (pair) => {
        t.equal((await pair.call()).status, 403);
        t.equal((await pair.call()).status, 200);
      },
    );
  },
);

void t.test(
  "a denial whose page does not come is a denial, and not a failure",
  async (t) => {
    await withHttp(
      (_request, response) =>
        response
          .writeHead(401, { "content-length": "9", "x-why": "slow" })
          .flushHeaders(),
      { timeout: "150ms", failOpen: true, headersToCallerOnDeny: ["x-why"] },
      async (pair) => {
        const answer = await pair.call();
        t.equal(answer.status, 401);
        t.equal(answer.headers["x-why"], "slow");
      },
    );
  },
);

void t.test(
  "it is asked where a rule matches, and DENY and ALLOW come after it",
  async (t) => {
    await withHttp(
      allow,
      { headersToApplication: ["x-user"] },
      async (pair, script) => {
        t.equal((await pair.call({ path: "/free" })).status, 200);
        t.equal(script.asked.length, 0);
        const spoofed = await pair.call({
          path: "/free",
          headers: { "x-user": "mallory" },
        });
        t.notOk(echoed(spoofed).headers["x-user"], "not asked, not believed");
        t.equal((await pair.call({ path: "/admin" })).status, 200);
        t.equal(script.asked.length, 1);
        const denied = await pair.call({ path: "/admin/x" });
        t.equal(denied.reason, "DENIED; policy=shop/no-x");
        t.equal(script.asked.length, 2, "it was asked before");
        const byHeader = await pair.call({ path: "/admin/user" });
        t.equal(
          byHeader.reason,
          "DENIED; policy=shop/no-x",
          "what the provider wrote is judged",
        );
      },
      {
        resources: [
          custom("opa", [{ to: [{ operation: { paths: ["/admin*"] } }] }]),
          resource("AuthorizationPolicy", "no-x", {
            selector: { matchLabels: { app: "orders" } },
            action: "DENY",
            rules: [
              { to: [{ operation: { paths: ["/admin/x"] } }] },
              {
                to: [{ operation: { paths: ["/admin/user"] } }],
                when: [{ key: "request.headers[x-user]", values: ["alice"] }],
              },
            ],
          }),
        ],
      },
    );
  },
);

void t.test("the body that it sees: whole, cut, or refused", async (t) => {
  for (const [partial, body, status, seen] of [
    [false, "12345", 200, "12345"],
    [true, "123456", 200, "12345"],
    [false, "123456", 413, undefined],
    [true, "", 200, ""],
  ] as const)
    await withHttp(
      allow,
      { body: { maxBytes: 5, partial } },
      async (pair, script) => {
        const answer = await pair.call({ method: "POST", body });
        t.equal(answer.status, status, `${body} ${partial}`);
        t.equal(script.asked[0]?.body, seen);
        if (status !== 200) return;
        t.equal(echoed(answer).body, body, "the application gets all of it");
        t.equal(
          script.asked[0]?.headers["x-envoy-auth-partial-body"],
          String(body.length > 5),
        );
      },
    );
});
