/** status, token and store. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { parseToken } from "../../src/push/token.ts";
import {
  runCli,
  withControlPlane,
  withServer,
} from "../support/control-plane/cli.ts";

void t.test("tokens: made once, listed without secrets, revoked", async (t) => {
  const running = await withControlPlane(t);
  const { cli, controlPlane } = running;

  await t.test("an enrolment token says where and to whom", async (t) => {
    const { code, out } = await cli(
      ...["token", "create", "-n", "shop", "--service-account", "web"],
      ...["--label", "app=web,version=v2", "--label", "tier=front"],
      ...["--ttl", "2h", "--uses", "3"],
    );
    t.equal(code, 0);
    t.match(parseToken(out), {
      ca: controlPlane.authority.fingerprint,
      address: controlPlane.pushAddress,
    });
    const { out: listed } = await cli("token", "list");
    t.match(listed, /^KIND +ID +FOR +EXPIRES\n/);
    t.match(listed, /EnrolmentToken +\S+ +shop\/web, 3 uses left +20\d\d-/);
    t.match(listed, /ApiToken +\S+ +admin in all namespaces +never/);
    t.notMatch(listed, out.trim().split(".")[2]);
    const json = JSON.parse(
      (await cli("token", "list", "-o", "json")).out,
    ) as Record<string, unknown>[];
    const found = json.find(({ kind }) => kind === "EnrolmentToken");
    t.match(found, {
      labels: { app: "web", version: "v2", tier: "front" },
    });
    t.notOk(json.some((item) => "hash" in item));
  });

  await t.test(
    "an API token may do what its role says, until revoked",
    async (t) => {
      const made = JSON.parse(
        (
          await cli(
            ...["token", "create", "--role", "viewer"],
            ...["--for-namespace", "shop", "-o", "json"],
          )
        ).out,
      ) as { id: string; token: string };
      const as = (argv: string[]): ReturnType<typeof runCli> =>
        runCli([...argv, "--server", controlPlane.apiUrl], {
          environment: { WHERRY_TOKEN: made.token },
        });
      t.equal((await as(["get", "services", "-n", "shop"])).code, 0);
      const refused = await as(["delete", "svc", "x", "-n", "shop"]);
      t.equal(refused.code, 1);
      t.match(refused.err, /viewer, which only reads/);
      t.match((await cli("token", "revoke", "api", made.id)).out, made.id);
      const late = await as(["get", "services", "-n", "shop"]);
      t.equal(late.code, 1);
      t.match(late.err, /token/);
    },
  );

  await t.test("slips", async (t) => {
    const rows: readonly (readonly [string[], RegExp])[] = [
      [["create"], /what is the token for\?/],
      [
        ["create", "--service-account", "web", "--uses", "two"],
        /invalid --uses two: expected a whole number/,
      ],
      [
        ["create", "--service-account", "web", "--label", "app"],
        /--label: "app" is not of the form KEY=VALUE/,
      ],
      [["create", "--service-account", "web", "--ttl", "soon"], /ttl: /],
      [["create", "--role", "king"], /role: /],
      [
        ["revoke", "magic", "x"],
        /invalid kind "magic": expected enrolment or api/,
      ],
      [["revoke", "api", "nobody"], /nobody does not exist/],
    ];
    for (const [argv, message] of rows) {
      const { code, out, err } = await cli("token", ...argv);
      t.equal(code, 1, argv.join(" "));
      t.equal(out, "");
      t.match(err, message);
    }
  });
});

void t.test("the store: shown, accepted by its id alone", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const { id } = controlPlane.store;
  t.match(
    (await cli("store", "show")).out,
    `store ${id} (memory) at revision `,
  );
  t.match(JSON.parse((await cli("store", "show", "-o", "json")).out), {
    id,
    accepted: false,
  });
  const wrong = await cli("store", "accept", "another");
  t.equal(wrong.code, 1);
  t.match(wrong.err, `serves from store ${id}, not another`);
  t.match((await cli("store", "accept", id)).out, /^accepted: /);
  t.match(JSON.parse((await cli("store", "show", "-o", "json")).out), {
    accepted: true,
  });
});

void t.test("status without a sidecar says how to get one", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const { out } = await cli("status");
  t.match(out, `store ${controlPlane.store.id} (memory) at revision `);
  t.match(out, /no sidecar is known: start one with "wherry sidecar"/);
  t.match(JSON.parse((await cli("status", "-o", "json")).out), {
    trustDomain: "cluster.local",
    sidecars: [],
  });
});

const NOW = Date.UTC(2026, 0, 2);

function sidecar(name: string, more: object): object {
  return {
    name,
    namespace: "shop",
    serviceAccount: "web",
    labels: {},
    identity: "spiffe://cluster.local/ns/shop/sa/web",
    connected: true,
    connectedSince: NOW - 5000,
    peer: "127.0.0.1",
    pending: false,
    certificateExpiresAt: NOW + 7_200_000,
    agent: { version: "0.1.0", schema: 1 },
    ...more,
  };
}

const STATUS = {
  now: NOW,
  trustDomain: "cluster.local",
  store: { id: "new", revision: 9, kind: "sqlite", accepted: false },
  unconfirmed: Array.from({ length: 23 }, (_, at) => ({
    workload: `shop/b-${at + 1}`,
    since: NOW - 20_000,
    why: "callers reach it",
    reached: 1,
    unreached: 2,
  })),
  sidecars: [
    sidecar("a-1", {
      acknowledged: { store: "new", revision: 9, digest: "" },
      configReceivedAt: NOW - 61_000,
      holds: { everything: false, services: 12, questions: 1 },
      lease: { workload: "shop/a-1", ready: true },
    }),
    sidecar("b-1", {
      connected: false,
      disconnectedAt: NOW - 3000,
      acknowledged: { store: "old", revision: 40, digest: "" },
      refused: {
        version: { store: "new", revision: 4, digest: "" },
        reason: "another store",
        at: NOW - 2000,
      },
      holds: { everything: true, services: 0, questions: 0 },
      lease: { workload: "shop/b-1", ready: false, unconfirmed: true },
    }),
    sidecar("c-1", { pending: true }),
  ],
};

void t.test(
  "status: what sidecars of older versions do not know, and what acts in its place",
  async (t) => {
    const sidecars = [
      sidecar("a-1", {
        withheld: {
          count: 22,
          resources: [
            {
              resource: "AuthorizationPolicy shop/a",
              fields: ["spec.x", "spec.y"],
              instead: "closed",
            },
            {
              resource: "HTTPRoute shop/a",
              fields: ["spec.rules[].x"],
              instead: "older",
            },
          ],
        },
        unread: {
          count: 1,
          resources: [
            { resource: "Service shop/a", fields: ["spec.z"], instead: "rest" },
          ],
        },
      }),
      sidecar("b-1", {}),
    ];
    const server = await withServer(t, (_request, response) =>
      response.end(JSON.stringify({ ...STATUS, unconfirmed: [], sidecars })),
    );
    const { out } = await runCli(["status", "--server", server], {
      environment: { WHERRY_TOKEN: "any" },
    });
    t.equal(
      out.slice(out.indexOf("\n\nshop/a-1 (") + 2),
      `shop/a-1 (version 0.1.0, schema 1) does not know all of 22 resources:
  AuthorizationPolicy shop/a: spec.x, spec.y; what it could refuse is refused
  HTTPRoute shop/a: spec.rules[].x; the version that it has stays in force
  and 20 more
shop/a-1 (version 0.1.0, schema 1) does not know all of 1 resource:
  Service shop/a: spec.z; the rest of it is in force
`,
    );
  },
);

void t.test("status: a certificate that two addresses call with", async (t) => {
  const sidecars = [sidecar("a-1", { copy: "10.0.0.9" })];
  const server = await withServer(t, (_request, response) =>
    response.end(JSON.stringify({ ...STATUS, unconfirmed: [], sidecars })),
  );
  const { out } = await runCli(["status", "--server", server], {
    environment: { WHERRY_TOKEN: "any" },
  });
  t.match(
    out,
    /shop\/a-1 calls from .* and from 10\.0\.0\.9 with the same certificate: .*delete the state directory on one/,
  );
});

void t.test(
  "status: a row a sidecar, refusals with their reason, advice",
  async (t) => {
    const server = await withServer(t, (_request, response) =>
      response.end(JSON.stringify(STATUS)),
    );
    const environment = { WHERRY_TOKEN: "any" };
    const { out } = await runCli(["status", "--server", server], {
      environment,
    });
    t.equal(
      out,
      `store new (sqlite) at revision 9, trust domain cluster.local

SIDECAR   STATE        WORKLOAD        REVISION  CONFIG        HOLDS        AGE   CERTIFICATE ENDS
shop/a-1  connected    ready           9         acknowledged  12 services  1m1s  in 2h
shop/b-1  gone for 3s  unconfirmed     40        refused       all          -     in 2h
shop/c-1  connected    not registered  -         none yet      -            -     in 2h

shop/b-1 refused revision 4 of store new, 2s ago:
  another store

The control plane hears nothing of these sidecars. Callers keep the workloads, and prefer others where some serve:
WORKLOAD   FOR  REACHED BY  NOT BY  WHY IT IS KEPT
shop/b-1   20s  1           2       callers reach it
shop/b-2   20s  1           2       callers reach it
shop/b-3   20s  1           2       callers reach it
shop/b-4   20s  1           2       callers reach it
shop/b-5   20s  1           2       callers reach it
shop/b-6   20s  1           2       callers reach it
shop/b-7   20s  1           2       callers reach it
shop/b-8   20s  1           2       callers reach it
shop/b-9   20s  1           2       callers reach it
shop/b-10  20s  1           2       callers reach it
shop/b-11  20s  1           2       callers reach it
shop/b-12  20s  1           2       callers reach it
shop/b-13  20s  1           2       callers reach it
shop/b-14  20s  1           2       callers reach it
shop/b-15  20s  1           2       callers reach it
shop/b-16  20s  1           2       callers reach it
shop/b-17  20s  1           2       callers reach it
shop/b-18  20s  1           2       callers reach it
shop/b-19  20s  1           2       callers reach it
shop/b-20  20s  1           2       callers reach it
and 3 more

1 of 3 sidecars serve from another store's config. If this store holds what the mesh shall have: wherry store accept new
`,
    );
    const coloured = await runCli(["status", "--server", server], {
      environment,
      colours: true,
    });
    t.match(coloured.out, "\u001b[31mrefused\u001b[39m");
    t.equal(coloured.out.replaceAll(/\u001b\[\d+m/g, ""), out);
  },
);

void t.test(
  "status: faults that are injected stand before everything else, and how to end them",
  async (t) => {
    const server = await withServer(t, (_request, response) =>
      response.end(
        JSON.stringify({
          ...STATUS,
          faults: [
            {
              namespace: "shop",
              name: "slow",
              targets: ["reviews", "orders"],
              what: "delay 2s 10 %",
              expiresAt: STATUS.now + 3_600_000,
            },
          ],
        }),
      ),
    );
    const { out } = await runCli(["status", "--server", server], {
      environment: { WHERRY_TOKEN: "any" },
    });
    t.equal(
      out.split("\n")[0],
      "FAULTS ARE INJECTED into calls to reviews, orders by shop/slow: delay 2s 10 %; ends in 1h, or with: wherry delete faultinjection slow -n shop",
    );
  },
);

void t.test(
  "status: a FaultInjection is shown from its apply to its delete, in red, and one that does not end is not taken",
  async (t) => {
    const { cli, options } = await withControlPlane(t);
    const apply = (expiresAt: string): ReturnType<typeof runCli> =>
      runCli(["apply", "-f", "-", ...options], {
        input: `apiVersion: mesh.wherry.dev/v1alpha1
kind: FaultInjection
metadata: { name: slow, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  delay: { fixedDelay: 2s, percentage: 10 }
  abort: { grpcStatus: UNAVAILABLE, percentage: 5 }
  reset: { percentage: 1 }
  bandwidth: { kibibytesPerSecond: 64, percentage: 50 }
${expiresAt}`,
      });
    const endless = await apply("");
    t.equal(endless.code, 1);
    t.match(endless.err, /spec\.expiresAt: is required/);
    t.notMatch((await cli("status")).out, /FAULTS/);
    const end = new Date(systemClock.wall() + 3_600_000).toISOString();
    t.equal((await apply(`  expiresAt: ${end}\n`)).code, 0);
    const { out } = await runCli(["status", ...options], { colours: true });
    t.match(
      out.split("\n")[0],
      /^\u001b\[31mFAULTS ARE INJECTED\u001b\[\d+m into calls to orders by shop\/slow: delay 2s 10 %, abort UNAVAILABLE 5 %, reset 1 %, bandwidth 64 KiB\/s 50 %; ends in /,
    );
    t.match(JSON.parse((await cli("status", "-o", "json")).out), {
      faults: [{ name: "slow", targets: ["orders"] }],
    });
    t.equal(
      (await cli("delete", "faultinjection", "slow", "-n", "shop")).code,
      0,
    );
    t.notMatch((await cli("status")).out, /FAULTS/);
  },
);

void t.test("where the API's token comes from", async (t) => {
  const seen: (string | undefined)[] = [];
  const server = await withServer(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.end(JSON.stringify({ ...STATUS, sidecars: [], unconfirmed: [] }));
  });
  const folder = t.testdir({ "admin.token": "of-state\n", other: "of-file\n" });
  for (const name of ["admin.token", "other"])
    chmodSync(join(folder, name), 0o600);
  const status = ["status", "--server", `${server}/`];
  await runCli([...status, "--state", folder]);
  await runCli([...status, "--state", folder], {
    environment: { WHERRY_TOKEN: "of-environment" },
  });
  await runCli([...status, "--state", folder], {
    environment: { WHERRY_TOKEN: "" },
  });
  await runCli([...status, "--token-file", join(folder, "other")], {
    environment: { WHERRY_TOKEN: "of-environment" },
  });
  t.strictSame(seen, [
    "Bearer of-state",
    "Bearer of-environment",
    "Bearer of-state",
    "Bearer of-file",
  ]);
  const none = await runCli([...status, "--state", join(folder, "nowhere")]);
  t.equal(none.code, 1);
  t.match(
    none.err,
    /no API token: .*nowhere\/admin\.token cannot be read \(ENOENT\)\. Name a file/,
  );
});

void t.test("tokens that a control plane made open it again", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const file = join(t.testdir(), "token");
  writeFileSync(file, readFileSync(controlPlane.adminTokenFile, "utf8"), {
    mode: 0o600,
  });
  t.equal((await cli("status", "--token-file", file)).code, 0);
});
