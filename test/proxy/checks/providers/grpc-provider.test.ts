/** Action CUSTOM through real sidecars: gRPC providers, several providers, and those that are not there. */
import t from "tap";
import {
  allow,
  custom,
  echoed,
  PATIENT,
  withGrpc,
  withProviders,
} from "../../../support/checks/asking-pair.ts";
import { grpcScript, httpScript } from "../../../support/checks/providers.ts";
import { silentWay } from "../../../support/faults/silent-way.ts";

void t.test(
  "a provider that is not there, and the status that is said",
  async (t) => {
    const script = await httpScript(allow);
    await script.close();
    for (const server of ["http", "grpc"])
      await withProviders(
        [
          {
            ...{ name: "opa", [server]: { address: script.address } },
            ...{ ...PATIENT, statusOnError: 503 },
          },
        ],
        { resources: [custom("opa")] },
        async (pair) => {
          const answer = await pair.call();
          t.equal(answer.status, 503, server);
          t.match(answer.reason, /^PROVIDER_FAILED/);
        },
      );
  },
);

void t.test("a provider that the Mesh does not have", async (t) => {
  await withProviders([], { resources: [custom("nobody")] }, async (pair) => {
    const answer = await pair.call();
    t.equal(answer.status, 403);
    t.match(answer.text, /the Mesh has no provider "nobody"/);
  });
});

void t.test(
  "several providers: all that a rule matches are asked, each once",
  async (t) => {
    const first = await httpScript(allow);
    const second = await grpcScript(() => ({ status: { code: 7 } }));
    try {
      await withProviders(
        [
          { name: "one", http: { address: first.address }, ...PATIENT },
          { name: "two", grpc: { address: second.address }, ...PATIENT },
        ],
        {
          resources: [
            custom("one"),
            custom("one", [{}], "ask-one-again"),
            custom("two", [{ to: [{ operation: { paths: ["/both"] } }] }]),
          ],
        },
        async (pair) => {
          t.equal((await pair.call({ path: "/" })).status, 200);
          const both = await pair.call({ path: "/both" });
          t.equal(both.status, 403);
          t.equal(both.reason, "PROVIDER_DENIED; policy=shop/ask-two");
          t.equal(first.asked.length, 2);
          t.equal(second.asked.length, 1);
        },
      );
    } finally {
      await first.close();
      second.close();
    }
  },
);

void t.test("gRPC: what it is asked, and what it may write", async (t) => {
  await withGrpc(
    () => ({
      status: { code: 0 },
      ok: {
        headers: [
          { header: { key: "X-User", value: "alice" } },
          { header: { key: "x-name", value: "\u0141ucja" } },
          { header: { key: "x-role", value: "a" }, append: { value: true } },
          { header: { key: "x-role", value: "b" }, append: { value: true } },
          { header: { key: ":path", value: "/admin" } },
          { header: { key: "host", value: "other" } },
          { header: { key: "content-length", value: "1" } },
          { header: { key: "x-wherry-destination", value: "db.shop:1" } },
          { header: { key: "x-forwarded-client-cert", value: "By=x" } },
          { header: { key: "x-unlisted", value: "1" } },
        ],
        remove: ["cookie", "x-wherry-destination", ":method"],
        response: [{ header: { key: "x-seen", value: "yes" } }],
      },
    }),
    {
      headersToApplication: ["x-*", "host", "content-length"],
      headersToCallerOnAllow: ["x-seen"],
      body: { maxBytes: 100, asBytes: true },
    },
    async (pair, script) => {
      const answer = await pair.call({
        method: "POST",
        path: "/a?b=c",
        body: "words",
        headers: {
          ...{ cookie: "a=1", "x-user": "mallory", constructor: "yes" },
          ...{ ["__proto__"]: "no", x_envoy_auth_partial_body: "true" },
        },
      });
      t.equal(answer.status, 200, answer.text);
      t.equal(answer.headers["x-seen"], "yes");
      const asked = script.asked[0]?.attributes;
      t.equal(asked?.source.principal, pair.authority.id("web"));
      t.equal(asked?.destination.principal, pair.authority.id("orders"));
      t.equal(
        asked?.destination.address.socket.port,
        pair.instances[0]?.appPort,
      );
      t.match(asked?.request.http, {
        ...{ method: "POST", path: "/a?b=c", host: "orders.shop" },
        headers: {
          ...{ ":method": "POST", ":path": "/a?b=c" },
          ...{ cookie: "a=1", "x-user": "mallory" },
        },
        body: "",
      });
      t.equal(asked?.request.http?.rawBody.toString(), "words");
      const told = asked?.request.http?.headers ?? {};
      for (const [name, value] of [
        ["constructor", "yes"],
        ["__proto__", "no"],
      ] as const)
        t.equal(
          Object.getOwnPropertyDescriptor(told, name)?.value,
          value,
          `${name}, as the caller wrote it`,
        );
      t.notOk(told["x_envoy_auth_partial_body"]);
      t.notOk(
        Object.keys(asked?.request.http?.headers ?? {}).some((name) =>
          name.startsWith("x-wherry-"),
        ),
      );
      const { headers, body } = echoed(answer);
      t.match(headers, {
        "x-user": "alice",
        "x-role": "a, b",
        host: "orders.shop",
      });
      t.equal(
        Buffer.from(headers["x-name"] ?? "", "latin1").toString(),
        Buffer.from("\u0141ucja").toString("latin1"),
        "the application gets the bytes",
      );
      t.equal(headers["x-unlisted"], "1", "x-* lists it");
      t.notOk(headers["cookie"], "removed by the provider");
      t.notOk(headers["x-forwarded-client-cert"]);
      t.equal(body, "words");
    },
  );
});

void t.test("gRPC: denials and unusable answers", async (t) => {
  const rows: readonly (readonly [string, object | Buffer, number, RegExp])[] =
    [
      ["no details", { status: { code: 7 } }, 403, /^PROVIDER_DENIED/],
      [
        "with a status and a page",
        {
          status: { code: 16 },
          denied: {
            status: { code: 401 },
            headers: [{ header: { key: "www-authenticate", value: "Bearer" } }],
            body: "log in",
          },
        },
        401,
        /^PROVIDER_DENIED/,
      ],
      [
        "a denial that looks like success",
        { status: { code: 7 }, denied: { status: { code: 200 } } },
        403,
        /^PROVIDER_DENIED/,
      ],
      [
        "a status beyond any",
        { status: { code: 7 }, denied: { status: { code: 9999 } } },
        403,
        /^PROVIDER_DENIED/,
      ],
      ["an empty message", {}, 403, /^PROVIDER_FAILED/],
      [
        "garbage",
        Buffer.from([0xff, 0xff, 0xff, 0xff]),
        403,
        /^PROVIDER_FAILED/,
      ],
      [
        "both at once",
        { status: { code: 0 }, denied: { status: { code: 403 } } },
        403,
        /^PROVIDER_FAILED/,
      ],
      [
        "a header that splits the head",
        {
          status: { code: 0 },
          ok: { headers: [{ header: { key: "x-user", value: "a\r\nx: y" } }] },
        },
        403,
        /^PROVIDER_FAILED/,
      ],
      [
        "huge headers",
        {
          status: { code: 0 },
          ok: {
            headers: [{ header: { key: "x-user", value: "a".repeat(20_000) } }],
          },
        },
        403,
        /^PROVIDER_FAILED/,
      ],
      [
        "another query",
        { status: { code: 0 }, ok: { queryToRemove: ["q"] } },
        403,
        /^PROVIDER_FAILED/,
      ],
    ];
  let says: object | Buffer = {};
  await withGrpc(
    () => says,
    { headersToApplication: ["x-user"] },
    async (pair) => {
      for (const [what, answer, status, reason] of rows) {
        says = answer;
        const got = await pair.call();
        t.equal(got.status, status, what);
        t.match(got.reason, reason, what);
      }
    },
  );
});

void t.test("gRPC: one that does not answer in time", async (t) => {
  for (const [failOpen, status] of [
    [false, 403],
    [true, 200],
  ] as const)
    await withGrpc(
      () => undefined,
      { timeout: "50ms", failOpen },
      async (pair) => {
        t.equal((await pair.call()).status, status);
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_authorization_provider_seconds_count",
            'result="late"',
          ),
          1,
        );
      },
    );
});

void t.test("gRPC: a connection that fell silent is replaced", async (t) => {
  const script = await grpcScript(() => ({ status: { code: 0 } }));
  const way = await silentWay(script.address);
  const provider = { name: "opa", grpc: { address: way.address } };
  try {
    await withProviders(
      [{ ...provider, timeout: "1s" }],
      { resources: [custom("opa")] },
      async (pair) => {
        // The first ones may be late on a busy machine.
        while ((await pair.call()).status !== 200);
        way.fallSilent();
        const statuses: number[] = [];
        while (!statuses.includes(200) && statuses.length < 10)
          statuses.push((await pair.call()).status);
        t.equal(statuses[0], 403);
        t.equal(statuses.at(-1), 200);
      },
    );
  } finally {
    way.close();
    script.close();
  }
});
