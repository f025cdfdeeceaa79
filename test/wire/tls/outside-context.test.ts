/** What callers trust and show in TLS with servers outside the mesh: the machine's roots, and the files of a policy. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ClientTls } from "../../../src/resources/traffic-policy/client-tls.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { listening } from "../../support/meshes/pair.ts";
import {
  outsideAuthority,
  outsideServer,
  type Leaf,
} from "../../support/peers/outside.ts";

import { verdict } from "../../support/peers/outside-verdict.ts";

const authority = outsideAuthority();
const stranger = outsideAuthority();
const SIMPLE: ClientTls = { mode: "SIMPLE", caBundle: authority.bundle };

/** Writes a certificate and its key as files. */
function files(
  t: Test,
  { cert, key }: Leaf,
  mode = 0o600,
): Pick<ClientTls, "clientCertificate" | "privateKey"> {
  const directory = t.testdir();
  mkdirSync(directory, { recursive: true });
  const clientCertificate = join(directory, "client.pem");
  const privateKey = join(directory, "client.key");
  writeFileSync(clientCertificate, cert);
  writeFileSync(privateKey, key);
  chmodSync(privateKey, mode);
  return { clientCertificate, privateKey };
}

void t.test(
  "MUTUAL shows the certificate of its files, as they are now",
  async (t) => {
    const server = await outsideServer(t, "bytes", {
      ...authority.leaf(),
      requestCert: true,
      ca: authority.bundle,
      // Whoever is refused in TLS 1.3 hears of it after the handshake: what counts is who was let in.
      rejectUnauthorized: true,
    });
    const mutual = (shown: object): ClientTls => ({
      ...SIMPLE,
      ...shown,
      mode: "MUTUAL",
    });
    const shown = files(t, authority.leaf({ commonName: "first" }));
    const bytes = { protocol: undefined };
    t.equal(await verdict(t, server.port, mutual(shown), bytes), "");
    const second = authority.leaf({ commonName: "second" });
    writeFileSync(shown.clientCertificate ?? "", second.cert);
    t.match(
      await verdict(t, server.port, mutual(shown)),
      /^TLS_FAILED .*key values mismatch/i,
      "half renewed",
    );
    writeFileSync(shown.privateKey ?? "", second.key);
    t.equal(await verdict(t, server.port, mutual(shown), bytes), "");
    t.match(
      server.sessions.map(({ peer }) => peer),
      [/first/, /second/],
    );
  },
);

void t.test("MUTUAL without what it is to show makes no call", async (t) => {
  const seen: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => seen.push(chunk));
  });
  const port = await listening(server);
  t.teardown(() => server.close());
  const mesh = fakeAuthority().issue();
  const leaf = authority.leaf();
  const rows: [string, (t: Test) => object, RegExp][] = [
    [
      "no files",
      () => ({
        clientCertificate: "/nowhere/c.pem",
        privateKey: "/nowhere/k.pem",
      }),
      /\/nowhere\/c\.pem: ENOENT/,
    ],
    [
      "no key",
      (t) => ({ ...files(t, leaf), privateKey: "/nowhere/k.pem" }),
      /\/nowhere\/k\.pem: ENOENT/,
    ],
    [
      "a directory",
      (t) => ({ ...files(t, leaf), clientCertificate: t.testdir() }),
      /not a file/,
    ],
    [
      "a device",
      (t) => ({ ...files(t, leaf), privateKey: "/dev/zero" }),
      /not a file/,
    ],
    ["a key that others may read", (t) => files(t, leaf, 0o644), /private key/],
    [
      "no certificate in the file",
      (t) => files(t, { ...leaf, cert: "none" }),
      /no certificate found/,
    ],
    ["ended", (t) => files(t, authority.leaf({ lasts: -1000 })), /it ended at/],
    [
      "the mesh's own",
      (t) => files(t, { cert: mesh.certificateChain, key: mesh.privateKey }),
      /mesh identity is not shown/,
    ],
    ["nothing named", () => ({}), /MUTUAL without/],
  ];
  for (const [title, shown, expected] of rows)
    await t.test(title, async (t) => {
      const reason = await verdict(t, port, {
        ...SIMPLE,
        ...shown(t),
        mode: "MUTUAL",
      });
      t.match(reason, /^TLS_FAILED /);
      t.match(reason, expected);
    });
  t.strictSame(seen, [], "not a byte");
});

void t.test(
  "the machine's roots are those of its file, as it is now",
  async (t) => {
    const { port } = await outsideServer(t, "bytes", authority.leaf());
    const roots = join(t.testdir(), "roots.pem");
    const before = process.env["SSL_CERT_FILE"];
    t.teardown(() => {
      if (before === undefined) delete process.env["SSL_CERT_FILE"];
      else process.env["SSL_CERT_FILE"] = before;
    });
    process.env["SSL_CERT_FILE"] = roots;
    const tls: ClientTls = { mode: "SIMPLE" };
    t.match(
      await verdict(t, port, tls),
      /^TLS_FAILED .*roots\.pem, cannot be read/,
    );
    writeFileSync(roots, stranger.bundle);
    t.match(await verdict(t, port, tls), /^TLS_FAILED /);
    writeFileSync(roots, authority.bundle);
    t.equal(await verdict(t, port, tls), "");
  },
);
