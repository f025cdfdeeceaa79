/** Who is turned away from the link, by which end, and that no application byte passes before (law 5; SPIFFE X.509-SVID 4 and 5). */
import { createServer as createTcpServer, type Socket } from "node:net";
import { createServer, type ConnectionOptions } from "node:tls";
import t, { type Test } from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import type { Code } from "../../../src/mesh/reasons.ts";
import type { MeshError } from "../../../src/mesh/errors.ts";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { KeyUsage } from "../../../src/identity/extensions.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { type LinkRefusal } from "../../../src/wire/tls/tls.ts";
import {
  fakeAuthority,
  type IssueOptions,
} from "../../support/certificates/certificate-authority.ts";
import {
  failureOf,
  listen,
  stranger,
  tcp,
  testLink,
} from "../../support/peers/link.ts";

const HOUR = 3_600_000;
/** RFC 5280 4.2.1.3. */
const KEY_ENCIPHERMENT = 2;
const mesh = fakeAuthority();
const elsewhere = fakeAuthority({ trustDomain: "elsewhere.test" });
/** Another authority that claims to speak for our trust domain. */
const impostor = fakeAuthority();
const orders = mesh.credentials("orders");

function presenting(pems: CredentialPems): ConnectionOptions {
  return {
    cert: pems.certificateChain,
    key: pems.privateKey,
    ca: mesh.bundle,
  };
}

void t.test("the server refuses a client", async (t) => {
  const issued = (options: IssueOptions): ConnectionOptions =>
    presenting(mesh.issue(options));
  const now = Date.now();
  const rows: [string, ConnectionOptions, LinkRefusal][] = [
    ["without a certificate", { ca: mesh.bundle }, "no certificate"],
    [
      "of another trust domain and authority",
      presenting(elsewhere.issue()),
      "untrusted issuer",
    ],
    [
      "of another trust domain that our own authority signed",
      issued({ id: "spiffe://elsewhere.test/ns/shop/sa/web" }),
      "foreign trust domain",
    ],
    [
      "with our name from another authority",
      presenting(impostor.issue()),
      "untrusted issuer",
    ],
    [
      "whose certificate expired",
      issued({ notBefore: now - 2 * HOUR, notAfter: now - 60_000 }),
      "expired",
    ],
    [
      "whose certificate is not valid yet",
      issued({ notBefore: now + HOUR, notAfter: now + 2 * HOUR }),
      "not yet valid",
    ],
    ["without a URI name", issued({ id: null }), "no URI SAN"],
    [
      "with two URI names",
      issued({ id: [mesh.id("web"), mesh.id("orders")] }),
      "several URI SANs",
    ],
    [
      "whose URI is no SPIFFE ID",
      issued({ id: "https://cluster.local/ns/shop/sa/web" }),
      "not a SPIFFE ID",
    ],
    [
      "whose SPIFFE ID is of another shape",
      issued({ id: "spiffe://cluster.local/web" }),
      "not a SPIFFE ID",
    ],
    ["with an authority's certificate", issued({ ca: true }), "CA certificate"],
    [
      "whose key is not for signatures",
      issued({ keyUsage: [KEY_ENCIPHERMENT] }),
      "key usage",
    ],
    [
      "whose leaf may sign certificates",
      issued({
        keyUsage: [KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_CERT_SIGN],
      }),
      "key usage",
    ],
    [
      "that offers no protocol by ALPN",
      { ...issued({}), ALPNProtocols: [] },
      "no protocol in common",
    ],
    [
      "that offers another protocol alone",
      { ...issued({}), ALPNProtocols: ["smtp"] },
      "handshake failed",
    ],
    [
      "that speaks TLS 1.2 at most",
      { ...issued({}), maxVersion: "TLSv1.2" },
      "handshake failed",
    ],
    [
      "that knows the group P-384 alone",
      { ...issued({}), ecdhCurve: "P-384" },
      "handshake failed",
    ],
  ];
  for (const [who, options, reason] of rows)
    await t.test(who, async (t) => {
      const link = await testLink(orders, {
        onConnection: (socket) => socket.end("secret"),
      });
      t.teardown(() => link.close());
      const outcome = await stranger(link.port, options);
      await link.settled(1);
      t.equal(link.refused[0]?.reason, reason, link.refused[0]?.detail ?? "");
      t.equal(link.refused[0]?.address, "127.0.0.1");
      t.not(link.refused[0]?.detail, "");
      t.equal(link.accepted.length, 0);
      t.equal(link.received(), 0);
      t.equal(outcome.received.length, 0);
      t.equal(link.listener.handshakes, 0);
    });
});

void t.test("a plaintext client is refused as what it is", async (t) => {
  const openings: [string, string | Buffer][] = [
    ["HTTP/1.1", "GET / HTTP/1.1\r\nhost: orders\r\n\r\n"],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"],
    ["a proxy's CONNECT", "CONNECT orders:80 HTTP/1.1\r\n\r\n"],
    ["Redis", "*1\r\n$4\r\nPING\r\n"],
    ["noise", Buffer.alloc(64, 0xff)],
  ];
  for (const [what, opening] of openings) {
    const link = await testLink(orders);
    t.teardown(() => link.close());
    const socket = await tcp(link.port);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write(opening);
    await closed;
    t.match(link.refused, [{ reason: "plaintext" }], what);
    t.equal(link.received(), 0);
    // An alert at most: a record of type 21 and two octets.
    const answer = Buffer.concat(chunks);
    t.ok(answer.length <= 7 && (answer.length === 0 || answer[0] === 21), what);
  }
});

void t.test("the client sends 0 bytes to the wrong server", async (t) => {
  const expected = mesh.id("payments");
  const connectTo = (port: number): Promise<unknown> =>
    connectLink({
      address: "127.0.0.1",
      port,
      expected,
      credentials: mesh.credentials("web"),
      timeoutMs: 5000,
      clock: systemClock,
      signal: new AbortController().signal,
    }).then(({ socket }) => socket.end("secret"));

  await t.test("a valid certificate of another service", async (t) => {
    const link = await testLink(orders);
    t.teardown(() => link.close());
    const error = await failsWith(t, connectTo(link.port), "WRONG_IDENTITY");
    await link.settled(1);
    const { socket } = link.accepted[0] ?? {};
    if (socket?.destroyed === false)
      await new Promise((resolve) => socket.once("close", resolve));
    t.equal(link.received(), 0);
    t.match(error.message, `expected ${expected}, proved ${orders.id}`);
  });

  const now = Date.now();
  const rows: [string, CredentialPems, Code][] = [
    [
      "the right name from another authority",
      impostor.issue({ id: expected }),
      "TLS_FAILED",
    ],
    [
      "an expired certificate",
      mesh.issue({ id: expected, notBefore: now - HOUR, notAfter: now - 1000 }),
      "TLS_FAILED",
    ],
    [
      "two names, one of them right",
      mesh.issue({ id: [expected, mesh.id("web")] }),
      "TLS_FAILED",
    ],
    [
      "the same service of another trust domain",
      mesh.issue({ id: "spiffe://elsewhere.test/ns/shop/sa/payments" }),
      "WRONG_IDENTITY",
    ],
    [
      "the same service account of another namespace",
      mesh.issue({ id: mesh.id("payments", "other") }),
      "WRONG_IDENTITY",
    ],
  ];
  for (const [what, pems, code] of rows)
    await t.test(what, async (t) => {
      let octets = 0;
      const server = createServer(
        {
          cert: pems.certificateChain,
          key: pems.privateKey,
          ALPNProtocols: ["h2"],
        },
        (socket) => {
          socket.on("error", () => undefined);
          socket.on("data", (chunk: Buffer) => (octets += chunk.length));
        },
      );
      const closed = new Promise((resolve) =>
        server.on("connection", (raw: Socket) => raw.on("close", resolve)),
      );
      const port = await listen(server);
      t.teardown(() => server.close());
      await failsWith(t, connectTo(port), code);
      await closed;
      t.equal(octets, 0);
    });

  await t.test("no TLS at all", async (t) => {
    let got = "";
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => (got += chunk.toString("latin1")));
      socket.write("220 mail.example ESMTP\r\n");
    });
    t.teardown(() => server.close());
    await failsWith(t, connectTo(await listen(server)), "TLS_FAILED");
    t.notMatch(got, "secret");
  });
});

/** Fails with the code, blames the server, and says that nothing was processed. */
async function failsWith(
  t: Test,
  promise: Promise<unknown>,
  code: Code,
): Promise<MeshError> {
  const error = await failureOf(promise);
  t.equal(error.code, code, error.message);
  t.equal(error.source, "upstream");
  t.equal(error.unprocessed, true);
  return error;
}
