/** A certificate of a form that SPIFFE X.509-SVID 3 to 5 forbids is nobody's, whoever signed it: at the link, towards the callee, at the push port. */
import { createServer } from "node:tls";
import { status } from "@grpc/grpc-js";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import type { Credentials } from "../../../../src/identity/credentials.ts";
import { KeyUsage, Oid } from "../../../../src/identity/extensions.ts";
import {
  fingerprintOf,
  readCertificates,
} from "../../../../src/identity/pem.ts";
import { connectLink } from "../../../../src/wire/tls/connect.ts";
import { startTestControlPlane } from "../../../support/control-plane/push-control-plane.ts";
import { openRaw } from "../../../support/control-plane/raw-sidecar.ts";
import { fakeAuthority } from "../../../support/certificates/certificate-authority.ts";
import {
  failureOf,
  listen,
  stranger,
  testLink,
} from "../../../support/peers/link.ts";
import {
  authorityExtensions,
  constraints,
  generalized,
  ia5,
  keyUsage,
  leafExtensions,
  namesOf,
  oddCertificate,
  purposes,
  tlv,
  uris,
  utc,
  type OddExtension,
  type OddTemplate,
} from "../../../support/certificates/odd-certificates.ts";

const mesh = fakeAuthority();
const web = mesh.id("web");

interface Presented {
  readonly chain: string;
  readonly key: string;
}

type Change = Readonly<Record<string, OddExtension | undefined>>;

/** A leaf of the mesh's own issuing certificate with `change` made to what is right. */
function leaf(
  change: Change,
  more: Partial<OddTemplate> & { twice?: string } = {},
): Presented {
  const extensions = { ...leafExtensions(web), ...change };
  const list = Object.values(extensions).filter((each) => each !== undefined);
  const again = more.twice === undefined ? undefined : extensions[more.twice];
  const { pem, privateKeyPem } = oddCertificate({
    issuer: mesh.issuing,
    extensions: again === undefined ? list : [...list, again],
    ...more,
  });
  return {
    chain: pem + mesh.issuing.certificate.toString(),
    key: privateKeyPem,
  };
}

/** A right leaf beneath a signing certificate of the root with `change` made to what is right. */
function beneath(
  change: Change,
  more: Partial<OddTemplate> = {},
  uri = web,
): Presented {
  const signing = oddCertificate({
    issuer: mesh.rootIssuer,
    commonName: "odd authority",
    extensions: Object.values({ ...authorityExtensions(), ...change }).filter(
      (each) => each !== undefined,
    ),
    ...more,
  });
  const [certificate] = readCertificates(signing.pem, "odd authority");
  if (certificate === undefined) throw new Error("unreachable");
  const { pem, privateKeyPem } = oddCertificate({
    issuer: { certificate, privateKey: signing.privateKey },
    extensions: Object.values(leafExtensions(uri)),
  });
  return { chain: pem + signing.pem, key: privateKeyPem };
}

function nameConstraint(trustDomain: string): OddExtension {
  // permittedSubtrees [0] of one GeneralSubtree whose base is the URI's host.
  return {
    oid: Oid.NAME_CONSTRAINTS,
    critical: true,
    value: tlv(0x30, tlv(0xa0, tlv(0x30, ia5(0x86, trustDomain)))),
  };
}

const unknown: OddExtension = {
  oid: "1.3.6.1.4.1.99999.1",
  critical: true,
  value: tlv(0x05),
};
const { DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN } = KeyUsage;
const noPathLength = tlv(0x02, Buffer.from([0]));

const RIGHT: readonly (readonly [string, Presented])[] = [
  ["what is right", leaf({})],
  [
    "no basic constraints and no purposes",
    leaf({ constraints: undefined, purposes: undefined }),
  ],
  [
    "a DNS name beside the URI",
    leaf({ name: namesOf(ia5(0x82, "web.shop"), ia5(0x86, web)) }),
  ],
  [
    "an unknown extension that is not critical",
    leaf({ more: { ...unknown, critical: false } }),
  ],
  [
    "a signing certificate with the trust domain's SPIFFE ID",
    beneath({ name: uris("spiffe://cluster.local") }),
  ],
  [
    "a signing certificate held to our trust domain",
    beneath({ limit: nameConstraint("cluster.local") }),
  ],
  [
    "a validity to the end of time",
    leaf(
      {},
      {
        validity: [
          generalized("20250101000000Z"),
          generalized("99991231235959Z"),
        ],
      },
    ),
  ],
];

const WRONG: readonly (readonly [string, Presented])[] = [
  ["cA TRUE without keyCertSign", leaf({ constraints: constraints(true) })],
  [
    "cA TRUE without any key usage",
    leaf({ constraints: constraints(true), usage: undefined }),
  ],
  [
    "cA TRUE with keyCertSign",
    leaf({
      constraints: constraints(true),
      usage: keyUsage([DIGITAL_SIGNATURE, KEY_CERT_SIGN]),
    }),
  ],
  ["no key usage", leaf({ usage: undefined })],
  [
    "a key usage that is not critical",
    leaf({ usage: keyUsage([DIGITAL_SIGNATURE], false) }),
  ],
  [
    "keyCertSign",
    leaf({ usage: keyUsage([DIGITAL_SIGNATURE, KEY_CERT_SIGN]) }),
  ],
  ["cRLSign", leaf({ usage: keyUsage([DIGITAL_SIGNATURE, CRL_SIGN]) })],
  ["no digitalSignature", leaf({ usage: keyUsage([2]) })],
  [
    "the purpose of clients alone",
    leaf({ purposes: purposes(Oid.CLIENT_AUTH) }),
  ],
  [
    "the purpose of servers alone",
    leaf({ purposes: purposes(Oid.SERVER_AUTH) }),
  ],
  [
    "the purpose of code signing alone",
    leaf({ purposes: purposes("1.3.6.1.5.5.7.3.3") }),
  ],
  ["no URI", leaf({ name: undefined })],
  ["two URIs", leaf({ name: uris(web, "https://example.test/") })],
  [
    "a URI in a constructed form beside the right one",
    leaf({
      name: namesOf(tlv(0xa6, ia5(0x16, mesh.id("admin"))), ia5(0x86, web)),
    }),
  ],
  [
    "the trust domain's SPIFFE ID alone",
    leaf({ name: uris("spiffe://cluster.local") }),
  ],
  ["a SPIFFE ID that ends in a slash", leaf({ name: uris(`${web}/`) })],
  [
    "a subject alternative name that is not critical, and no subject",
    leaf({ name: { ...uris(web), critical: false } }),
  ],
  ["a critical extension that nobody knows", leaf({ more: unknown })],
  [
    "a name constraint on a leaf",
    leaf({ more: nameConstraint("cluster.local") }),
  ],
  ["key usage twice", leaf({}, { twice: "usage" })],
  ["the name twice", leaf({}, { twice: "name" })],
  ["version 1", leaf({}, { version: null })],
  ["version 2", leaf({}, { version: 1 })],
  ["an unknown version", leaf({}, { version: 3 })],
  [
    "a validity with a zone",
    leaf(
      {},
      { validity: [utc("250101000000+0100"), utc("350101000000+0100")] },
    ),
  ],
  [
    "a validity with fractions",
    leaf(
      {},
      {
        validity: [
          generalized("20250101000000.5Z"),
          generalized("20350101000000.5Z"),
        ],
      },
    ),
  ],
  [
    "a month that does not exist",
    leaf({}, { validity: [utc("251301000000Z"), utc("351301000000Z")] }),
  ],
  [
    "a validity that ends before it begins",
    leaf({}, { validity: [utc("350101000000Z"), utc("250101000000Z")] }),
  ],
  [
    "a signing certificate without cA",
    beneath({ constraints: constraints(false) }),
  ],
  [
    "a signing certificate without basic constraints",
    beneath({ constraints: undefined }),
  ],
  ["a signing certificate without key usage", beneath({ usage: undefined })],
  [
    "a signing certificate without keyCertSign",
    beneath({ usage: keyUsage([CRL_SIGN]) }),
  ],
  [
    "a signing certificate with a workload's SPIFFE ID",
    beneath({ name: uris(mesh.id("authority")) }),
  ],
  [
    "a signing certificate with a critical extension that nobody knows",
    beneath({ more: unknown }),
  ],
  [
    "a signing certificate held to another trust domain",
    beneath({ limit: nameConstraint("elsewhere.test") }),
  ],
  [
    "a signing certificate that has expired",
    beneath({}, { validity: [utc("240101000000Z"), utc("250101000000Z")] }),
  ],
  ["a workload that signs for another", fromLeaf()],
  ["a signing certificate below one that allows none", tooDeep()],
];

/** A right leaf signed with the key of a workload. */
function fromLeaf(): Presented {
  const signer = oddCertificate({
    issuer: mesh.issuing,
    commonName: "web",
    extensions: Object.values(leafExtensions(web)),
  });
  const [certificate] = readCertificates(signer.pem, "signer");
  if (certificate === undefined) throw new Error("unreachable");
  const { pem, privateKeyPem } = oddCertificate({
    issuer: { certificate, privateKey: signer.privateKey },
    extensions: Object.values(leafExtensions(mesh.id("admin"))),
  });
  return {
    chain: pem + signer.pem + mesh.issuing.certificate.toString(),
    key: privateKeyPem,
  };
}

function tooDeep(): Presented {
  const signing = oddCertificate({
    issuer: mesh.issuing,
    commonName: "too deep",
    extensions: [
      constraints(true, noPathLength),
      keyUsage([KEY_CERT_SIGN, CRL_SIGN]),
    ],
  });
  const [certificate] = readCertificates(signing.pem, "too deep");
  if (certificate === undefined) throw new Error("unreachable");
  const { pem, privateKeyPem } = oddCertificate({
    issuer: { certificate, privateKey: signing.privateKey },
    extensions: Object.values(leafExtensions(web)),
  });
  return {
    chain: pem + signing.pem + mesh.issuing.certificate.toString(),
    key: privateKeyPem,
  };
}

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
    });
    settled += 1;
    await link.settled(settled);
    return received.toString();
  };
  for (const [what, presented] of RIGHT)
    t.equal(await call(presented), "welcome", `accepted: ${what}`);
  const accepted = link.accepted.length;
  for (const [what, presented] of WRONG) {
    t.equal(await call(presented), "", `refused: ${what}`);
    t.not(link.refused.at(-1)?.detail, "", what);
  }
  t.equal(link.accepted.length, accepted);
});

void t.test("at the link: a callee gets no byte", async (t) => {
  const call = async ({ chain, key }: Presented): Promise<number> => {
    let bytes = 0;
    const server = createServer(
      { cert: chain, key, ALPNProtocols: ["h2"] },
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
    if (outcome instanceof Error)
      await failureOf(Promise.reject(outcome)).then(({ code }) =>
        t.equal(code, "TLS_FAILED"),
      );
    return bytes;
  };
  for (const [what, presented] of RIGHT)
    t.equal(await call(presented), "secret".length, `called: ${what}`);
  for (const [what, presented] of WRONG)
    t.equal(await call(presented), 0, `not called: ${what}`);
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
