/** An authority whose files are doubtful does not start, and says what to do; one that somebody brought does. */
import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, createPublicKey } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  openAuthority,
  type Authority,
} from "../../../src/control-plane/authority/authority.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { loadCredentials } from "../../../src/identity/credentials.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr, issueCertificate } from "../../../src/identity/x509.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const DAY = 24 * 3_600_000;
const trustDomain = "cluster.local";
const openssl = {
  skip:
    spawnSync("openssl", ["version"]).status !== 0 &&
    "openssl is not installed",
};

function open(directory: string, clock = systemClock): Promise<Authority> {
  return openAuthority({ directory, trustDomain, clock });
}

function signed(authority: Authority): string {
  return authority.sign(createCsr(generatePrivateKey()), {
    spiffeId: "spiffe://cluster.local/ns/shop/sa/web",
    name: "web-1",
    labels: {},
    ttlMs: DAY,
  }).certificateChain;
}

void t.test("doubtful files are refused", async (t) => {
  const base = t.testdir();
  const other = join(base, "other");
  await open(other);
  const rows: [string, (directory: string) => void, RegExp][] = [
    [
      "no issuing key",
      (d) => rmSync(join(d, "issuing.key")),
      /issuing\.key missing beside root\.crt/,
    ],
    ["no root", (d) => rmSync(join(d, "root.crt")), /root\.crt missing/],
    [
      "the root's key alone",
      (d) => {
        for (const name of ["root.crt", "issuing.crt", "issuing.key"])
          rmSync(join(d, name));
      },
      /root\.crt and issuing\.crt and issuing\.key missing beside root\.key/,
    ],
    [
      "an open issuing key",
      (d) => chmodSync(join(d, "issuing.key"), 0o640),
      /issuing\.key is open to others \(mode 0640\); run: chmod 600/,
    ],
    [
      "an open root key",
      (d) => chmodSync(join(d, "root.key"), 0o604),
      /root\.key is open to others/,
    ],
    [
      "a directory that others write",
      (d) => chmodSync(d, 0o777),
      /can be written by others; run: chmod go-w/,
    ],
    [
      "a root that others write",
      (d) => chmodSync(join(d, "root.crt"), 0o646),
      /root\.crt: every user .* can write to it \(mode 0646\).*chmod o-w/,
    ],
    [
      "an issuing certificate that others write",
      (d) => chmodSync(join(d, "issuing.crt"), 0o666),
      /issuing\.crt: every user .* can write to it/,
    ],
    [
      "another's issuing key",
      (d) => copyFileSync(join(other, "issuing.key"), join(d, "issuing.key")),
      /issuing\.key does not belong/,
    ],
    [
      "another's root key",
      (d) => copyFileSync(join(other, "root.key"), join(d, "root.key")),
      /root\.key does not belong/,
    ],
    [
      "another's root",
      (d) => {
        copyFileSync(join(other, "root.crt"), join(d, "root.crt"));
        rmSync(join(d, "root.key"));
      },
      /issuing\.crt: .*signed by none of the trusted roots/,
    ],
    [
      "no PEM",
      (d) => writeFileSync(join(d, "issuing.crt"), "hello"),
      /issuing\.crt: no certificate found/,
    ],
    [
      "a key that is none",
      (d) => writeFileSync(join(d, "issuing.key"), "hello"),
      /issuing\.key cannot be read/,
    ],
    [
      "an issuing certificate as root",
      (d) => {
        copyFileSync(join(d, "issuing.crt"), join(d, "root.crt"));
        rmSync(join(d, "root.key"));
      },
      /root\.crt: it is not self-signed/,
    ],
  ];
  for (const [index, [what, change, message]] of rows.entries()) {
    const directory = join(base, `authority-${index}`);
    await open(directory);
    change(directory);
    const before = contents(directory);
    await t.rejects(open(directory), { name: "UserError", message }, what);
    t.same(contents(directory), before, `${what}: nothing is changed`);
  }
});

void t.test("a directory that holds other things is left alone", async (t) => {
  const directory = t.testdir({ "notes.txt": "mine" });
  await t.rejects(open(directory), {
    message: /give a directory that is empty/,
  });
  t.same(readdirSync(directory), ["notes.txt"]);
  t.same(
    readdirSync(join(directory, "..")).filter((name) =>
      name.startsWith(`${directory}.`),
    ),
    [],
  );
});

void t.test(
  "an expired root or issuing certificate without the root's key is refused",
  async (t) => {
    const directory = join(t.testdir(), "authority");
    await openAuthority({ directory, trustDomain, clock: fakeClock() });
    rmSync(join(directory, "root.key"));
    for (const [years, message] of [
      [2, /issuing\.crt: .*expired/],
      [11, /root\.crt: .*expired/],
    ] as const) {
      const clock = fakeClock();
      clock.advance(years * 365 * DAY);
      await t.rejects(openAuthority({ directory, trustDomain, clock }), {
        message,
      });
    }
  },
);

void t.test("with the root offline it signs, and renews nothing", async (t) => {
  const directory = join(t.testdir(), "authority");
  const clock = fakeClock();
  await openAuthority({ directory, trustDomain, clock });
  rmSync(join(directory, "root.key"));
  clock.advance(300 * DAY);
  const authority = await openAuthority({ directory, trustDomain, clock });
  const before = authority.issuingNotAfter;
  signed(authority);
  t.equal(authority.issuingNotAfter, before);
});

void t.test(
  "an authority between root and issuing certificate is sent along",
  async (t) => {
    const directory = t.testdir();
    const now = Date.now();
    const validity = { notBefore: now - 60_000, notAfter: now + DAY };
    const keys = [0, 1, 2].map(() => createPrivateKey(generatePrivateKey()));
    const [rootKey, middleKey, issuingKey] = keys;
    if (
      rootKey === undefined ||
      middleKey === undefined ||
      issuingKey === undefined
    )
      throw new Error("unreachable");
    const root = issueCertificate({
      commonName: "root",
      publicKey: createPublicKey(rootKey),
      ...validity,
      profile: { kind: "authority" },
      issuer: { selfSignedWith: rootKey },
    });
    const beneath = (
      pem: string,
      signer: typeof rootKey,
      key: typeof rootKey,
      commonName: string,
      pathLength: number,
    ): string => {
      const [certificate] = readCertificates(pem, "issuer");
      if (certificate === undefined) throw new Error("unreachable");
      return issueCertificate({
        commonName,
        publicKey: createPublicKey(key),
        ...validity,
        profile: { kind: "authority", pathLength },
        issuer: { certificate, privateKey: signer },
      });
    };
    const write = (pathLength: number): void => {
      const middle = beneath(root, rootKey, middleKey, "middle", pathLength);
      writeFileSync(join(directory, "root.crt"), root);
      writeFileSync(
        join(directory, "issuing.crt"),
        beneath(middle, middleKey, issuingKey, "issuing", 0) + middle,
      );
      writeFileSync(
        join(directory, "issuing.key"),
        issuingKey.export({ type: "pkcs8", format: "pem" }),
        { mode: 0o600 },
      );
    };
    write(0);
    await t.rejects(open(directory), {
      message: /"CN=middle" allows 0 authorities beneath it and has 1/,
    });
    write(1);
    t.equal(readCertificates(signed(await open(directory)), "chain").length, 3);
  },
);

void t.test(
  "the commands of certs/README.md make an authority and a workload's certificate that are taken",
  openssl,
  async (t) => {
    const readme = readFileSync(
      new URL("../../../certs/README.md", import.meta.url),
      "utf8",
    );
    const [authority = "", workload = ""] = [
      ...readme.matchAll(/```sh\n([^]*?)```/g),
    ].map(([, script]) => script ?? "");
    const home = t.testdir();
    const run = (script: string, cwd: string): string =>
      execFileSync("sh", ["-ec", script], {
        cwd,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    t.match(run(authority, home), "issuing.crt: OK");
    const directory = join(home, "authority");
    const credentials = join(home, "workload");
    mkdirSync(credentials);
    run(workload, directory);
    for (const name of ["web.key", "web.crt"])
      renameSync(join(directory, name), join(credentials, name));
    t.same(readdirSync(directory).sort(), [
      "issuing.crt",
      "issuing.key",
      "root.crt",
      "root.key",
    ]);
    const opened = await open(directory);
    const web = loadCredentials(
      {
        certificateChain: readFileSync(join(credentials, "web.crt"), "utf8"),
        privateKey: readFileSync(join(credentials, "web.key"), "utf8"),
        trustBundle: opened.trustBundle,
      },
      Date.now(),
    );
    t.equal(web.id, "spiffe://cluster.local/ns/shop/sa/web");
    const chain = join(home, "chain.pem");
    writeFileSync(chain, signed(opened));
    t.match(
      run(
        `openssl verify -x509_strict -purpose sslclient -CAfile authority/root.crt -untrusted chain.pem chain.pem`,
        home,
      ),
      "chain.pem: OK",
    );
    t.match(
      run(
        `openssl verify -x509_strict -purpose sslserver -CAfile authority/root.crt -untrusted workload/web.crt workload/web.crt`,
        home,
      ),
      "OK",
    );
  },
);

function contents(directory: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(directory).map((name) => [
      name,
      readFileSync(join(directory, name), "utf8"),
    ]),
  );
}
