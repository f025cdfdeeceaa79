/** What policy lets through and what not, seen from the callers' side. */
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { makeField } from "../../src/wire/fields.ts";
import { overLink } from "../support/peers/over-link.ts";
import { resource, send, withPair, type Pair } from "../support/meshes/pair.ts";

const deny = resource("AuthorizationPolicy", "no-web", {
  selector: { matchLabels: { app: "orders" } },
  action: "DENY",
  rules: [
    {
      from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }],
      to: [{ operation: { paths: ["/admin*"] } }],
    },
  ],
});

void t.test(
  "a DENY is a 403 with the policy's name in the reason, the log and the span; its deletion restores service",
  async (t) => {
    await withPair({ resources: [deny] }, async (pair) => {
      t.equal((await pair.call({ path: "/open" })).status, 200);
      for (const path of ["/admin/x", "/x/../admin/x", "//admin", "/%61dmin"]) {
        const answer = await pair.call({ path });
        t.equal(answer.status, 403, path);
        t.equal(answer.reason, "DENIED; policy=shop/no-web");
      }
      for (const direction of ["outbound", "inbound"])
        t.match(
          pair.log.find(
            (record) => record.direction === direction && record.status === 403,
          ),
          { reason: "DENIED", policy: "shop/no-web" },
          `${direction} log`,
        );
      const denied = pair.spans.filter(
        ({ attributes }) => attributes["wherry.policy"] === "shop/no-web",
      );
      t.ok(denied.length >= 2, "spans of both sides name it");
      pair.apply([]);
      t.equal((await pair.call({ path: "/admin/x" })).status, 200);
    });
  },
);

void t.test("the first ALLOW denies what it does not list", async (t) => {
  await withPair(
    {
      resources: [
        resource("AuthorizationPolicy", "readers", {
          selector: { matchLabels: { app: "orders" } },
          rules: [{ to: [{ operation: { methods: ["GET"] } }] }],
        }),
      ],
    },
    async (pair) => {
      t.equal((await pair.call()).status, 200);
      const answer = await pair.call({ method: "DELETE" });
      t.equal(answer.status, 403);
      t.equal(answer.reason, "NOT_ALLOWED; policy=shop/readers");
    },
  );
});

void t.test(
  "a stream to what this workload does not declare, or to a sidecar's own port, is a 421",
  async (t) => {
    await withPair(
      {
        callee: {},
      },
      async (pair) => {
        const { link, admin } = pair.callee.ports;
        pair.apply([
          resource("Service", "evil", {
            ports: [
              { name: "admin", port: 81, targetPort: admin },
              { name: "link", port: 82, targetPort: link },
            ],
            selector: { app: "orders" },
          }),
        ]);
        for (const [what, destination] of [
          ["another service", "payments.shop:80"],
          ["another port", "orders.shop:8443"],
          ["the admin port, though declared", "evil.shop:81"],
          ["the link itself", "evil.shop:82"],
          ["nothing", ""],
        ] as const) {
          const fields =
            destination === ""
              ? []
              : [makeField("x-wherry-destination", destination)];
          t.match(
            await overLink(pair, "web", { fields }),
            { status: 421, reason: "MISDIRECTED" },
            what,
          );
        }
        t.match(
          await overLink(pair, "web", {
            fields: [makeField("x-wherry-destination", "orders.shop:80")],
          }),
          { status: 200 },
          "what it declares is served",
        );
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_requests_total",
            'status="421"',
            "MISDIRECTED",
          ),
          5,
          "each is counted",
        );
      },
    );
  },
);

void t.test("a tunnel to what is not declared is a 421 too", async (t) => {
  await withPair({}, async (pair) => {
    t.match(
      await overLink(pair, "web", {
        method: "CONNECT",
        authority: "payments.shop:80",
        path: "",
      }),
      { status: 421 },
    );
    t.match(
      await overLink(pair, "web", {
        method: "CONNECT",
        authority: "orders.shop:80",
        path: "",
        fields: [makeField("x-wherry-destination", "payments.shop:80")],
      }),
      { status: 421 },
      "two names that differ are neither",
    );
  });
});

void t.test(
  "identity is that of the connection's certificate, whatever the fields say",
  async (t) => {
    await withPair({ resources: [deny] }, async (pair) => {
      const fields = [
        makeField("x-wherry-destination", "orders.shop:80"),
        makeField(
          "x-forwarded-client-cert",
          "URI=spiffe://cluster.local/ns/shop/sa/other",
        ),
        makeField("x-wherry-peer", "spiffe://cluster.local/ns/shop/sa/other"),
      ];
      t.match(await overLink(pair, "web", { path: "/admin", fields }), {
        status: 403,
        reason: "DENIED; policy=shop/no-web",
      });
      t.match(await overLink(pair, "other", { path: "/admin", fields }), {
        status: 200,
      });
    });
  },
);

void t.test("a published port is under PeerAuthentication", async (t) => {
  const permissive = resource("PeerAuthentication", "open", {
    selector: { matchLabels: { app: "orders" } },
    mtls: { mode: "PERMISSIVE" },
  });
  const needsPrincipal = resource("AuthorizationPolicy", "mesh-only", {
    selector: { matchLabels: { app: "orders" } },
    rules: [{ from: [{ source: { principals: ["*"] } }] }],
  });
  await withPair({ calleePublish: true }, async (pair) => {
    const port = pair.callee.ports.published.values().next().value ?? 0;
    const strict = await send(port);
    t.equal(strict.status, 403, "STRICT refuses plaintext");
    t.equal(strict.reason, undefined, "and tells strangers no reason");
    pair.apply([permissive]);
    t.equal((await send(port)).status, 200, "PERMISSIVE admits it");
    pair.apply([permissive, needsPrincipal]);
    t.equal((await send(port)).status, 403, "without an identity");
  });
});

void t.test(
  "a rule reads the caller's address, and X-Forwarded-For as far as the Mesh trusts it",
  async (t) => {
    const rule = (source: object): Resource =>
      resource("AuthorizationPolicy", "from", {
        selector: { matchLabels: { app: "orders" } },
        action: "DENY",
        rules: [{ from: [{ source }] }],
      });
    const status = async (pair: Pair, address?: string): Promise<number> =>
      (
        await pair.call(
          address === undefined
            ? {}
            : { headers: { "x-forwarded-for": address } },
        )
      ).status;
    const remote = rule({ remoteIpBlocks: ["203.0.113.0/24"] });
    await withPair({ resources: [remote] }, async (pair) => {
      t.equal(await status(pair, "203.0.113.9"), 200, "nobody is trusted");
      pair.apply([rule({ ipBlocks: ["127.0.0.0/8", "::1"] })]);
      t.equal(await status(pair), 403, "the caller's sidecar is on loopback");
      t.equal(await status(pair, "203.0.113.9"), 403, "whatever it says");
      pair.apply([rule({ ipBlocks: ["203.0.113.0/24"] })]);
      t.equal(await status(pair, "203.0.113.9"), 200, "a field is no address");
    });
    const trusting = { resources: [remote], mesh: { trustedHops: 1 } };
    await withPair(trusting, async (pair) => {
      t.equal(await status(pair, "203.0.113.9"), 403);
      t.equal(await status(pair, "198.51.100.1, 203.0.113.9"), 403);
      t.equal(
        await status(pair, "203.0.113.9, 198.51.100.1"),
        200,
        "the last word is the proxy's",
      );
      t.equal(await status(pair), 200);
    });
  },
);

void t.test("a rule reads a header of the request", async (t) => {
  const only = resource("AuthorizationPolicy", "blue", {
    selector: { matchLabels: { app: "orders" } },
    rules: [{ when: [{ key: "request.headers[x-team]", values: ["blue"] }] }],
  });
  await withPair({ resources: [only] }, async (pair) => {
    t.equal((await pair.call({ headers: { "x-team": "blue" } })).status, 200);
    t.equal((await pair.call({ headers: { "x-team": "red" } })).status, 403);
    t.equal((await pair.call()).status, 403);
  });
});
