/** Operators with client certificates: a role by the name that one proves, the audit log's author, and why others are refused. */
import { once } from "node:events";
import { connect } from "node:tls";
import t from "tap";
import { Agent, request } from "undici";
import { startApi } from "../../../../src/control-plane/api/server.ts";
import {
  clientAuthority,
  type ClientTemplate,
} from "../../../support/certificates/client-authority.ts";
import { rig, service, SHOP } from "../../../support/control-plane/api.ts";

const ALICE = "spiffe://ops.example/ns/people/sa/alice";
const HOUR = 3_600_000;

interface World {
  /** Without a template: no certificate. */
  readonly call: (
    method: "GET" | "POST",
    path: string,
    shown: Shown | undefined,
    more?: {
      readonly headers?: Record<string, string>;
      readonly body?: object;
    },
  ) => Promise<{ readonly status: number; readonly text: string }>;
  readonly own: (template: ClientTemplate) => Shown;
  readonly strange: (template: ClientTemplate) => Shown;
  readonly rig: Awaited<ReturnType<typeof rig>>;
  readonly url: string;
}

interface Shown {
  readonly cert: string;
  readonly key: string;
}

async function world(
  t: Parameters<typeof rig>[0],
  accepts = true,
): Promise<World> {
  const made = await rig(t);
  const authority = clientAuthority(made.clock.wall());
  const other = clientAuthority(made.clock.wall());
  const server = other.issue({ commonName: "api", forServers: true });
  const api = await startApi(made.options, {
    ...{ host: "127.0.0.1", port: 0 },
    tls: {
      ...{ certificate: server.cert, privateKey: server.key },
      ...(accepts
        ? {
            clients: {
              authorities: authority.bundle,
              roles: [
                { name: ALICE, role: "admin" },
                { name: "CN=bob", role: "editor", namespaces: ["shop"] },
                { name: "CN=eve", role: "viewer" },
              ],
            },
          }
        : {}),
    },
  });
  t.teardown(() => api.close());
  const call: World["call"] = async (method, path, shown, more = {}) => {
    const agent = new Agent({
      connect: { rejectUnauthorized: false, ...shown },
    });
    try {
      const { statusCode: status, body } = await request(`${api.url}${path}`, {
        method,
        dispatcher: agent,
        headers: {
          ...more.headers,
          ...(more.body === undefined
            ? {}
            : { "content-type": "application/json" }),
        },
        body: more.body === undefined ? null : JSON.stringify(more.body),
      });
      return { status, text: await body.text() };
    } finally {
      await agent.close();
    }
  };
  return {
    ...{ call, rig: made, url: api.url },
    own: (template) => authority.issue(template),
    strange: (template) => other.issue(template),
  };
}

void t.test(
  "a role is by the name, and refusals say whose they are",
  async (t) => {
    const { call, own } = await world(t);
    const services = `${SHOP}/services`;
    const rows: readonly (readonly [
      string,
      ClientTemplate,
      "GET" | "POST",
      string,
      number,
      RegExp,
    ])[] = [
      ["a URI", { uris: [ALICE] }, "GET", "/tokens", 200, /./],
      ["among several", { uris: ["urn:x", ALICE] }, "GET", "/tokens", 200, /./],
      ["a common name", { commonName: "bob" }, "GET", services, 200, /./],
      [
        "bound to a namespace",
        { commonName: "bob" },
        "GET",
        "/tokens",
        403,
        /needs a token with the role admin/,
      ],
      [
        "bound to another",
        { commonName: "bob" },
        "GET",
        services.replace("/shop/", "/bank/"),
        403,
        /this client certificate is for the namespaces shop, not for bank/,
      ],
      [
        "a viewer",
        { commonName: "eve" },
        "POST",
        services,
        403,
        /this client certificate has the role viewer/,
      ],
    ];
    for (const [title, template, method, path, status, words] of rows) {
      const body = method === "POST" ? { body: service("a") } : {};
      const answer = await call(method, path, own(template), body);
      t.equal(answer.status, status, `${title}: ${answer.text.slice(0, 200)}`);
      t.match(answer.text, words, title);
    }
  },
);

void t.test("certificates that are refused, and why", async (t) => {
  const { call, own, strange, rig: made } = await world(t);
  const now = Date.now();
  const rows: readonly (readonly [string, Shown | undefined, RegExp])[] = [
    ["none", undefined, /an API token, or a client certificate, is needed/],
    [
      "another authority's",
      strange({ uris: [ALICE] }),
      /does not lead to an authority of --api-client-ca/,
    ],
    [
      "one that has ended",
      own({ uris: [ALICE], notAfter: now - HOUR }),
      /out of its time \(CERT_HAS_EXPIRED\)/,
    ],
    [
      "one that is to begin",
      own({ uris: [ALICE], notBefore: now + HOUR, notAfter: now + 2 * HOUR }),
      /out of its time \(CERT_NOT_YET_VALID\)/,
    ],
    [
      "one for servers",
      own({ uris: [ALICE], forServers: true }),
      /INVALID_PURPOSE/,
    ],
    [
      "a name without a role",
      own({ uris: ["spiffe://ops.example/ns/people/sa/mallory"] }),
      /no --api-client gives a role to the URI spiffe:.*mallory/,
    ],
    [
      "the beginning of a name",
      own({ uris: [ALICE.slice(0, -1)] }),
      /no --api-client/,
    ],
    [
      "a name in another case",
      own({ commonName: "Bob" }),
      /no --api-client gives a role to CN=Bob/,
    ],
    [
      "a URI as a common name",
      own({ commonName: ALICE }),
      /no --api-client gives a role to CN=spiffe/,
    ],
    [
      "a common name as a URI",
      own({ uris: ["CN=bob"] }),
      /no --api-client gives a role to the URI CN=bob/,
    ],
    [
      "a common name as a URI, beside another common name",
      own({ uris: ["CN=bob"], commonName: "mallory" }),
      /no --api-client gives a role to the URI CN=bob or CN=mallory/,
    ],
    ["no name at all", own({}), /neither a URI nor a common name/],
  ];
  for (const [title, shown, words] of rows) {
    const { status, text } = await call("GET", "/store", shown);
    t.equal(status, 401, title);
    t.match(text, words, title);
  }
  made.clock.jump(400 * 24 * HOUR);
  const late = await call("GET", "/store", own({ uris: [ALICE] }));
  t.equal(late.status, 401, "by the control plane's own clock");
  t.match(late.text, /it is valid from/);
});

void t.test("a token beside a certificate decides alone", async (t) => {
  const { call, own, strange, rig: made } = await world(t);
  const viewer = await made.as("viewer");
  const tokens = async (
    shown: Shown,
    headers: Record<string, string>,
  ): Promise<number> =>
    (await call("GET", "/tokens", shown, { headers })).status;
  const alice = own({ uris: [ALICE] });
  t.equal(await tokens(alice, viewer), 403, "the token's role counts");
  t.equal(await tokens(alice, { authorization: "Bearer nonsense" }), 401);
  t.equal(await tokens(alice, { authorization: "Basic eA==" }), 401);
  const bad = strange({ uris: [ALICE] });
  t.equal(await tokens(bad, await made.as("admin")), 200);
});

void t.test(
  "a browser's page gets nothing by the certificate that it is shown with",
  async (t) => {
    const { call, own, rig: made } = await world(t);
    const alice = own({ uris: [ALICE] });
    for (const field of ["origin", "sec-fetch-site", "sec-fetch-mode"]) {
      const page = { [field]: "https://evil.example" };
      const { status, text } = await call("GET", "/store", alice, {
        headers: page,
      });
      t.equal(status, 401, field);
      t.match(text, /a page in a browser asked/);
      const headers = { ...page, ...(await made.as("admin")) };
      t.equal((await call("GET", "/store", alice, { headers })).status, 200);
    }
  },
);

void t.test("the audit log names the certificate", async (t) => {
  const { call, own } = await world(t);
  const bob = own({ commonName: "bob" });
  const body = service("by-bob");
  const written = await call("POST", `${SHOP}/services`, bob, { body });
  t.equal(written.status, 201, written.text);
  const { text } = await call(
    "GET",
    "/audit?by=CN%3Dbob",
    own({ uris: [ALICE] }),
  );
  const { items } = JSON.parse(text) as {
    items: readonly { by: string; name: string; verb: string }[];
  };
  t.match(items, [{ by: "CN=bob", name: "by-bob" }]);
});

void t.test(
  "without --api-client-ca no certificate is asked for or looked at",
  async (t) => {
    const { call, own } = await world(t, false);
    const { status, text } = await call(
      "GET",
      "/store",
      own({ uris: [ALICE] }),
    );
    t.equal(status, 401);
    t.match(text, /an API token is needed/);
  },
);

void t.test("a session is never resumed", async (t) => {
  const { own, url } = await world(t);
  const { hostname: host, port } = new URL(url);
  const alice = own({ uris: [ALICE] });
  let session: Buffer | undefined;
  for (let time = 0; time < 2; time += 1) {
    const socket = connect({
      ...{ host, port: Number(port), rejectUnauthorized: false },
      ...alice,
      ...(session === undefined ? {} : { session }),
    });
    socket.on("session", (ticket: Buffer) => (session = ticket));
    await once(socket, "secureConnect");
    t.equal(socket.isSessionReused(), false);
    socket.end("GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    socket.resume();
    await once(socket, "close");
  }
});
