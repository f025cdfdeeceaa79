/** The authority signs what it is asked to, for as long as it may, and keeps its keys where nobody else reads them. */
import { X509Certificate } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  openAuthority,
  type Authority,
  type SignedCertificate,
} from "../../../src/control-plane/authority/authority.ts";
import { UserError } from "../../../src/core/errors.ts";
import { chainFault } from "../../../src/identity/chain.ts";
import { loadCredentials } from "../../../src/identity/credentials.ts";
import { readBinding, uriNames } from "../../../src/identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

const DAY = 24 * 3_600_000;
const trustDomain = "cluster.local";
const web = "spiffe://cluster.local/ns/shop/sa/web";
const request = {
  spiffeId: web,
  name: "web-1",
  labels: { app: "web" },
  ttlMs: DAY,
};

function open(
  directory: string,
  clock: FakeClock = fakeClock(),
): Promise<Authority> {
  return openAuthority({ directory, trustDomain, clock });
}

void t.test(
  "at first start it makes root and issuing certificate, keys for its owner alone",
  async (t) => {
    const directory = join(t.testdir(), "state", "authority");
    const clock = fakeClock();
    const authority = await open(directory, clock);
    const mode = (name: string): string =>
      (statSync(join(directory, name)).mode & 0o777).toString(8);
    t.same(readdirSync(directory).sort(), [
      "issuing.crt",
      "issuing.key",
      "root.crt",
      "root.key",
    ]);
    t.same(
      readdirSync(join(directory, "..")),
      ["authority"],
      "nothing is left beside it",
    );
    t.equal(mode("."), "700");
    t.equal(mode("root.key"), "600");
    t.equal(mode("issuing.key"), "600");
    t.equal(
      authority.trustBundle,
      readFileSync(join(directory, "root.crt"), "utf8"),
    );
    const [root] = readCertificates(authority.trustBundle, "bundle");
    t.ok(root !== undefined && authority.fingerprint === fingerprintOf(root));
    const years = (certificate: X509Certificate): number =>
      Math.round(
        (certificate.validToDate.getTime() - clock.wall()) / (365 * DAY),
      );
    t.equal(years(new X509Certificate(authority.trustBundle)), 10);
    const issuing = new X509Certificate(
      readFileSync(join(directory, "issuing.crt")),
    );
    t.equal(years(issuing), 1);
    t.equal(authority.issuingNotAfter, issuing.validToDate.getTime());
  },
);

void t.test("a restart goes on with the same authority", async (t) => {
  const directory = join(t.testdir(), "authority");
  const first = await open(directory);
  const second = await open(directory);
  t.equal(second.fingerprint, first.fingerprint);
  t.equal(second.issuingNotAfter, first.issuingNotAfter);
});

void t.test("two that start together end up with one authority", async (t) => {
  const directory = join(t.testdir(), "authority");
  const opened = await Promise.all([open(directory), open(directory)]);
  t.equal(opened[0].fingerprint, opened[1].fingerprint);
});

void t.test(
  "a leaf is bound to the identity, the instance and the labels that it was asked for",
  async (t) => {
    const clock = fakeClock();
    const authority = await open(join(t.testdir(), "authority"), clock);
    const privateKey = generatePrivateKey();
    const { certificateChain, notAfter } = authority.sign(
      createCsr(privateKey),
      request,
    );
    const chain = readCertificates(certificateChain, "chain");
    const [leaf] = chain;
    if (leaf === undefined) throw new Error("unreachable");
    t.equal(chain.length, 2, "the root is not sent");
    t.same(uriNames(leaf), [web]);
    t.same(readBinding(leaf), { name: "web-1", labels: { app: "web" } });
    t.equal(notAfter, clock.wall() + DAY);
    t.equal(leaf.validToDate.getTime(), notAfter);
    t.ok(
      leaf.validFromDate.getTime() <= clock.wall() - 60_000,
      "clocks may differ by a minute",
    );
    t.equal(
      chainFault(
        chain,
        readCertificates(authority.trustBundle, "root"),
        clock.wall(),
      ),
      undefined,
    );
    const credentials = loadCredentials(
      { certificateChain, privateKey, trustBundle: authority.trustBundle },
      clock.wall(),
    );
    t.equal(credentials.id, web);
  },
);

void t.test(
  "the control plane's own credentials have a key of their own each time",
  async (t) => {
    const authority = await open(join(t.testdir(), "authority"));
    const id = "spiffe://cluster.local/ns/wherry-system/sa/control-plane";
    const [one, two] = [authority.own(id), authority.own(id)];
    t.equal(one.id, id);
    t.not(one.privateKey, two.privateKey);
    t.not(one.generation, two.generation);
  },
);

void t.test("what must not be signed is refused", async (t) => {
  const authority = await open(join(t.testdir(), "authority"));
  const csr = createCsr(generatePrivateKey());
  const rows: [string, string, Partial<typeof request>][] = [
    [
      "another trust domain",
      csr,
      { spiffeId: "spiffe://elsewhere.test/ns/shop/sa/web" },
    ],
    ["no SPIFFE ID", csr, { spiffeId: "web" }],
    ["no time at all", csr, { ttlMs: 0 }],
    ["no number", csr, { ttlMs: Number.NaN }],
    ["no request", "hello", {}],
  ];
  for (const [what, pem, change] of rows)
    t.throws(
      () => authority.sign(pem, { ...request, ...change }),
      UserError,
      what,
    );
});

void t.test(
  "the issuing certificate is renewed in time, for the same key and under the same root",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    const clock = fakeClock();
    const authority = await open(directory, clock);
    const before = authority.issuingNotAfter;
    const key = readFileSync(join(directory, "issuing.key"), "utf8");
    const csr = createCsr(generatePrivateKey());
    clock.advance(274 * DAY);
    authority.sign(csr, request);
    t.equal(authority.issuingNotAfter, before, "91 days are left");
    clock.advance(2 * DAY);
    const { certificateChain } = authority.sign(csr, request);
    t.ok(authority.issuingNotAfter > before + 270 * DAY);
    t.equal(authority.renewalFault, undefined);
    t.equal(readFileSync(join(directory, "issuing.key"), "utf8"), key);
    t.equal(
      chainFault(
        readCertificates(certificateChain, "chain"),
        readCertificates(authority.trustBundle, "root"),
        clock.wall(),
      ),
      undefined,
    );
    t.same(readdirSync(directory).sort(), [
      "issuing.crt",
      "issuing.key",
      "root.crt",
      "root.key",
    ]);
    const again = await open(directory, clock);
    t.equal(again.issuingNotAfter, authority.issuingNotAfter);
    t.equal(again.fingerprint, authority.fingerprint);
  },
);

void t.test(
  "a certificate that expired while the control plane was off is renewed at start",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    const clock = fakeClock();
    await open(directory, clock);
    clock.advance(400 * DAY);
    const authority = await open(directory, clock);
    t.ok(authority.issuingNotAfter > clock.wall() + 360 * DAY);
  },
);

void t.test(
  "no leaf outlives its issuer, and at the very end none is signed",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    const clock = fakeClock();
    const authority = await open(directory, clock);
    const csr = createCsr(generatePrivateKey());
    clock.advance(10 * 365 * DAY - DAY / 2);
    const { notAfter } = authority.sign(csr, request);
    t.ok(notAfter <= clock.wall() + DAY / 2);
    clock.advance(DAY / 2 - 30_000);
    t.throws(() => authority.sign(csr, request), {
      message: /replace issuing\.crt/,
    });
  },
);

void t.test(
  "a renewal that cannot be written down is told, and signing goes on",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    const clock = fakeClock();
    const authority = await open(directory, clock);
    const path = join(directory, "issuing.crt");
    rmSync(path);
    mkdirSync(path);
    clock.advance(300 * DAY);
    const before = authority.issuingNotAfter;
    authority.sign(createCsr(generatePrivateKey()), request);
    t.equal(authority.issuingNotAfter, before);
    t.match(authority.renewalFault, /EISDIR/);
    t.notOk(
      readdirSync(directory).some((name) => name.startsWith("issuing.crt.")),
      "nothing is left beside it",
    );
    rmdirSync(path);
    authority.sign(createCsr(generatePrivateKey()), request);
    t.ok(authority.issuingNotAfter > before);
    t.equal(authority.renewalFault, undefined);
  },
);

void t.test(
  "an issuing certificate that a clock ahead has renewed does not outlast that clock",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    const clock = fakeClock();
    const csr = createCsr(generatePrivateKey());
    const authority = await open(directory, clock);
    const mayBeUsed = ({ certificateChain }: SignedCertificate): boolean =>
      chainFault(
        readCertificates(certificateChain, "chain"),
        readCertificates(authority.trustBundle, "root"),
        clock.wall(),
      ) === undefined;
    clock.jump(2 * 365 * DAY);
    authority.sign(csr, request);
    clock.jump(-2 * 365 * DAY);
    t.ok(mayBeUsed(authority.sign(csr, request)), "as it goes on");
    clock.jump(2 * 365 * DAY);
    authority.sign(csr, request);
    clock.jump(-2 * 365 * DAY);
    const again = await open(directory, clock);
    t.ok(mayBeUsed(again.sign(csr, request)), "after a restart");
    const issuing = readFileSync(join(directory, "issuing.crt"), "utf8");
    clock.jump(-31 * DAY);
    t.throws(() => again.sign(csr, request), { message: /set the clock/ });
    t.equal(
      readFileSync(join(directory, "issuing.crt"), "utf8"),
      issuing,
      "before the root begins, none is made",
    );
  },
);
