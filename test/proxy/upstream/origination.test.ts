/** TLS with Services outside the mesh, by a real sidecar: what goes out, what does not, and what acts on the way. */
import { createServer } from "node:net";
import { once } from "node:events";
import { connect } from "node:net";
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  listening,
  resource,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";
import {
  outsideAuthority,
  outsideServer,
} from "../../support/peers/outside.ts";

const HOST = "api.example.test";
const authority = outsideAuthority();
const stranger = outsideAuthority();

function external(port: number, appProtocol = "http"): Resource {
  return resource("Service", "api", {
    location: "MESH_EXTERNAL",
    hosts: [HOST],
    resolution: "STATIC",
    endpoints: [{ address: "127.0.0.1" }],
    ports: [{ name: "web", port: 80, targetPort: port, appProtocol }],
  });
}

function policy(
  tls: object | undefined,
  more: object = {},
  ref: object = {},
): Resource {
  return resource("TrafficPolicy", "api", {
    targetRefs: [{ kind: "Service", name: "api", ...ref }],
    ...(tls === undefined ? {} : { tls }),
    ...more,
  });
}

const SIMPLE = { mode: "SIMPLE", caBundle: authority.bundle };
const NONE = { instances: 0 };
const ask = (pair: Pair, path = "/") => pair.call({ host: HOST, path });

void t.test(
  "a call in plaintext goes out over TLS, without what is the mesh's",
  async (t) => {
    const server = await outsideServer(t, "http/1.1", {
      ...authority.leaf(),
      requestCert: true,
      rejectUnauthorized: false,
    });
    await withPair(
      { ...NONE, resources: [external(server.port), policy(SIMPLE)] },
      async (pair) => {
        const answer = await pair.call({
          host: HOST,
          path: "/a?b=c",
          headers: {
            "x-forwarded-client-cert":
              "By=spiffe://cluster.local/ns/shop/sa/web",
            "x-wherry-destination": "orders.shop:80",
            "x-own": "1",
          },
        });
        t.match(answer, { status: 200, text: "outside" });
        const [first] = server.requests;
        const { url, headers } = first ?? { url: "", headers: {} };
        t.equal(url, "/a?b=c");
        t.match(headers, { host: HOST, "x-own": "1" });
        t.strictSame(
          Object.keys(headers).filter((name) =>
            /^x-(wherry|forwarded-client)/.test(name),
          ),
          [],
        );
        t.match(
          server.sessions,
          [{ serverName: HOST, peer: "", protocol: "TLSv1.3" }],
          "no identity is shown",
        );
        t.equal((await ask(pair)).status, 200);
        t.equal(server.sessions.length, 1, "the connection is kept");
        t.match(pair.log[0], { destination: "api.shop:80" });
      },
    );
  },
);

void t.test("HTTP/2 and gRPC say https, and share a connection", async (t) => {
  const server = await outsideServer(t, "h2", authority.leaf());
  await withPair(
    { ...NONE, resources: [external(server.port, "http2"), policy(SIMPLE)] },
    async (pair) => {
      const answers = await Promise.all(
        ["/1", "/2", "/3"].map((path) => ask(pair, path)),
      );
      t.strictSame(
        answers.map(({ status }) => status),
        [200, 200, 200],
      );
      t.strictSame(
        server.requests.map(({ scheme }) => scheme),
        ["https", "https", "https"],
      );
      t.equal(server.sessions.length, 1);
    },
  );
});

void t.test("bytes of a tcp port go out over TLS, and back", async (t) => {
  const server = await outsideServer(t, "bytes", authority.leaf());
  await withPair(
    {
      ...NONE,
      resources: [external(server.port, "tcp"), policy(SIMPLE)],
    },
    async (pair) => {
      const tunnel = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
      tunnel.write(`CONNECT ${HOST}:80 HTTP/1.1\r\nhost: ${HOST}:80\r\n\r\n`);
      const [head] = (await once(tunnel, "data")) as [Buffer];
      t.match(head.toString(), /^HTTP\/1\.1 200 /);
      tunnel.write("hello");
      const [echo] = (await once(tunnel, "data")) as [Buffer];
      t.equal(echo.toString(), "hello");
      tunnel.end();
      await once(tunnel, "close");
      t.equal(server.sessions.length, 1);
    },
  );
});

void t.test("no plaintext goes out where TLS cannot be", async (t) => {
  const bytes: Buffer[] = [];
  const plain = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      bytes.push(chunk);
      socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno");
    });
  });
  const port = await listening(plain);
  t.teardown(() => plain.close());
  const off = { circuitBreaker: { volumeThreshold: 1000 } };
  for (const [title, tls, code] of [
    ["a server in plaintext", SIMPLE, /^TLS_FAILED/],
    [
      "a file that is not there",
      {
        ...SIMPLE,
        mode: "MUTUAL",
        clientCertificate: "/nowhere/c",
        privateKey: "/nowhere/k",
      },
      /^TLS_FAILED/,
    ],
  ] as const) {
    bytes.length = 0;
    await withPair(
      { ...NONE, resources: [external(port), policy(tls, off)] },
      async (pair) => {
        const answer = await ask(pair, "/secret");
        t.equal(answer.status, 503, title);
        t.match(answer.reason, code);
        t.ok(
          bytes.every((chunk) => chunk[0] === 0x16),
          "handshake records alone",
        );
        t.notMatch(Buffer.concat(bytes).toString("latin1"), "secret");
      },
    );
  }
});

void t.test("a changed policy acts on the next call", async (t) => {
  const server = await outsideServer(t, "http/1.1", authority.leaf());
  const service = external(server.port);
  await withPair(
    { ...NONE, resources: [service, policy(SIMPLE)] },
    async (pair) => {
      t.equal((await ask(pair)).status, 200);
      pair.apply([service, policy({ ...SIMPLE, caBundle: stranger.bundle })]);
      t.match(
        (await ask(pair)).reason,
        /^TLS_FAILED/,
        "the old connection is not for it",
      );
      pair.apply([
        service,
        policy({ ...SIMPLE, subjectAltNames: ["other.test"] }),
      ]);
      t.match((await ask(pair)).reason, /^WRONG_IDENTITY/);
      pair.apply([
        service,
        policy({ mode: "DISABLE" }, {}, { sectionName: "web" }),
      ]);
      t.not((await ask(pair)).status, 200, "plaintext to a server of TLS");
      pair.apply([service, policy(SIMPLE)]);
      t.equal((await ask(pair)).status, 200);
    },
  );
});

void t.test("health is asked over TLS as well", async (t) => {
  const server = await outsideServer(t, "http/1.1", authority.leaf());
  const checked = policy(SIMPLE, {
    healthCheck: { path: "/healthz", interval: "100ms" },
  });
  await withPair(
    { ...NONE, resources: [external(server.port), checked] },
    async (pair) => {
      t.equal((await ask(pair)).status, 200);
      await until(() => server.requests.some(({ url }) => url === "/healthz"));
    },
  );
});

void t.test("the application's own TLS goes through as it is", async (t) => {
  const server = await outsideServer(t, "bytes", authority.leaf());
  await withPair(
    { ...NONE, resources: [external(server.port, "tls"), policy(SIMPLE)] },
    async (pair) => {
      const { connect: secure } = await import("node:tls");
      const tunnel = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
      tunnel.write(`CONNECT ${HOST}:80 HTTP/1.1\r\nhost: ${HOST}:80\r\n\r\n`);
      await once(tunnel, "data");
      const own = secure({
        socket: tunnel,
        servername: HOST,
        ca: authority.bundle,
      });
      await once(own, "secureConnect");
      own.write("hello");
      const [echo] = (await once(own, "data")) as [Buffer];
      t.equal(echo.toString(), "hello");
      own.destroy();
    },
  );
});
