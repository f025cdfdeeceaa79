/** A certificate of a form that SPIFFE X.509-SVID 3 to 5 forbids is nobody's, whoever signed it: at the link, towards the callee, at the push port. */
import { createServer } from "node:tls";
import { status } from "@grpc/grpc-js";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import type { Credentials } from "../../../../src/identity/credentials.ts";
import { fingerprintOf } from "../../../../src/identity/pem.ts";
import { connectLink } from "../../../../src/wire/tls/connect.ts";
import { startTestControlPlane } from "../../../support/control-plane/push-control-plane.ts";
import { openRaw } from "../../../support/control-plane/raw-sidecar.ts";
import {
  failureOf,
  listen,
  stranger,
  testLink,
} from "../../../support/peers/link.ts";
import {
  constraints,
  keyUsage,
  leafExtensions,
  oddCertificate,
  utc,
  type OddExtension,
} from "../../../support/certificates/odd-certificates.ts";
import {
  leaf,
  mesh,
  unknown,
  web,
  type Presented,
} from "../../../support/certificates/presented.ts";
import {
  RIGHT,
  WRONG,
} from "../../../support/certificates/bad-certificates.ts";

/** A stranger's own OpenSSL is not to keep it from presenting what it has. */
const CARELESS = "DEFAULT@SECLEVEL=0";

void t.test("there are many ways to be wrong", (t) => {
  t.ok(WRONG.length >= 60, `${WRONG.length}`);
  t.equal(new Set(WRONG.map(([, what]) => what)).size, WRONG.length);
  t.end();
});

void t.test("at the link: a caller", async (t) => {
  const link = await testLink(mesh.credentials("orders"), {
    onConnection: (socket) => socket.end("welcome"),
  });
  t.teardown(() => link.close());
  let settled = 0;
  const call = async ({ chain, key }: Presented): Promise<string> => {
    const { received } = await stranger(link.port, {
      cert: chain,
      key,
      ca: mesh.bundle,
      ciphers: CARELESS,
    });
    settled += 1;
    await link.settled(settled);
    return received.toString();
  };
  for (const [what, presented] of RIGHT)
    t.equal(await call(presented), "welcome", `accepted: ${what}`);
  const accepted = link.accepted.length;
  for (const [reason, what, presented] of WRONG) {
    t.equal(await call(presented), "", `refused: ${what}`);
    const { reason: given, detail } = link.refused.at(-1) ?? {};
    t.equal(given, reason, `${what}: ${detail ?? ""}`);
    t.not(detail, "", what);
  }
  t.equal(link.accepted.length, accepted);
});

void t.test("at the link: a callee gets no byte", async (t) => {
  /** The bytes that it got, and why there were none. */
  const call = async ({
    chain,
    key,
  }: Presented): Promise<readonly [number, string]> => {
    let bytes = 0;
    const server = createServer(
      { cert: chain, key, ciphers: CARELESS, ALPNProtocols: ["h2"] },
      (socket) => {
        socket.on("error", () => undefined);
        socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
      },
    );
    const port = await listen(server);
    const closed = new Promise((resolve) =>
      server.on("connection", (raw: { on(e: string, f: () => void): void }) =>
        raw.on("close", () => resolve(undefined)),
      ),
    );
    const connecting = connectLink({
      address: "127.0.0.1",
      port,
      expected: web,
      credentials: mesh.credentials("orders"),
      timeoutMs: 5000,
      clock: systemClock,
      signal: new AbortController().signal,
    }).then(({ socket }) => socket.end("secret"));
    const outcome = await connecting.catch((thrown: unknown) => thrown);
    await closed;
    server.close();
    if (!(outcome instanceof Error)) return [bytes, ""];
    const { code, message } = await failureOf(Promise.reject(outcome));
    return [bytes, `${code} ${message}`];
  };
  for (const [what, presented] of RIGHT)
    t.same(await call(presented), ["secret".length, ""], `called: ${what}`);
  for (const [reason, what, presented] of WRONG) {
    const [bytes, why] = await call(presented);
    t.equal(bytes, 0, `not called: ${what}`);
    const code =
      reason === "foreign trust domain" ? "WRONG_IDENTITY" : "TLS_FAILED";
    t.match(why, new RegExp(`^${code} .*: ${reason}: .`, "s"), what);
  }
});

void t.test("at the push port: a sidecar is a stranger", async (t) => {
  const plane = await startTestControlPlane(t, {
    authority: {
      trustBundle: mesh.bundle,
      fingerprint: fingerprintOf(mesh.root),
      own: (id) => mesh.credentials("control-plane", { id }),
      sign: () => {
        throw new Error("nothing is signed here");
      },
    },
  });
  // Bound to an instance in the way of older builds, which both builds read.
  const binding: OddExtension = {
    oid: "2.25.247138091126452089637751022409361174935",
    value: Buffer.from(JSON.stringify({ name: "web-1", labels: {} })),
  };
  const credentials = ({ chain, key }: Presented): Credentials => ({
    ...mesh.credentials("web"),
    certificateChain: chain,
    privateKey: key,
  });
  const sidecar = openRaw(t, plane.address, credentials(leaf({ binding })));
  t.match(
    (await sidecar.next()).resources,
    [],
    "one with the right form is served",
  );
  for (const [what, change] of [
    ["cA TRUE without keyCertSign", { constraints: constraints(true) }],
    ["a critical extension that nobody knows", { more: unknown }],
    ["a key usage that is not critical", { usage: keyUsage([0], false) }],
  ] as const) {
    const end = await openRaw(
      t,
      plane.address,
      credentials(leaf({ ...change, binding })),
    ).ended();
    t.equal(end.code, status.UNAUTHENTICATED, what);
  }
  const expired = oddCertificate({
    issuer: mesh.issuing,
    extensions: [...Object.values(leafExtensions(web)), binding],
    validity: [utc("250101000000Z"), utc("250102000000Z")],
  });
  const { details } = await openRaw(
    t,
    plane.address,
    credentials({
      chain: expired.pem + mesh.issuing.certificate.toString(),
      key: expired.privateKeyPem,
    }),
  ).ended();
  t.match(
    details,
    /expired: the certificate .*sa\/web expired at 2025-01-02T00:00:00/,
    "one that expired is told so, and since when",
  );
  t.notMatch(details, /untrusted issuer/);
});
