/** A secret is read from a file that only this process's user, or root, can have read. */
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  certificateFiles,
  openFileCertificate,
} from "../../src/agent/files/file-certificate.ts";
import { openIssuerRoots } from "../../src/control-plane/issuer/issuer-roots.ts";
import { silentLogger } from "../../src/core/log.ts";
import {
  readSecret,
  readTrusted,
  secretFault,
} from "../../src/core/secret-file.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const US = 1000;
const ROOT = 0;
const OTHER = 1001;

void t.test("modes and owners", (t) => {
  const rows: readonly (readonly [
    mode: number,
    owner: number,
    user: number,
    verdict: "used" | "open" | "another",
  ])[] = [
    [0o600, US, US, "used"],
    [0o400, US, US, "used"],
    [0o700, US, US, "used"],
    [0o640, US, US, "open"],
    [0o620, US, US, "open"],
    [0o604, US, US, "open"],
    [0o602, US, US, "open"],
    [0o644, US, US, "open"],
    [0o666, US, US, "open"],
    // What Kubernetes mounts with fsGroup and defaultMode 0440 or 0640; and what it mounts without.
    [0o440, ROOT, US, "used"],
    [0o640, ROOT, US, "used"],
    [0o440, ROOT, ROOT, "used"],
    [0o660, ROOT, US, "open"],
    [0o650, ROOT, US, "open"],
    [0o444, ROOT, US, "open"],
    [0o644, ROOT, ROOT, "open"],
    [0o600, OTHER, US, "another"],
    [0o644, OTHER, US, "another"],
    [0o600, OTHER, ROOT, "used"],
    [0o640, OTHER, ROOT, "open"],
  ];
  for (const [mode, uid, user, verdict] of rows) {
    const fault = secretFault(
      { mode, uid, size: 10, isFile: () => true },
      "web.key",
      "the private key",
      user,
    );
    const said =
      fault === undefined
        ? "used"
        : fault.includes("open to others")
          ? "open"
          : "another";
    t.equal(
      said,
      verdict,
      `${mode.toString(8)} of ${uid}, read by ${user}: ${fault ?? "used"}`,
    );
    if (fault !== undefined)
      t.match(fault, /the private key web\.key .*run: (chmod 600|chown 1000) /);
  }
  for (const facts of [
    { mode: 0o644, uid: US, size: 0, isFile: () => true },
    { mode: 0o666, uid: OTHER, size: 10, isFile: () => false },
  ])
    t.equal(
      secretFault(facts, "x", "x", US),
      undefined,
      "nothing to read, or nobody else to read it",
    );
  t.end();
});

void t.test(
  "what a link leads to is judged, and nothing is read of it",
  async (t) => {
    const directory = t.testdir();
    const file = join(directory, "web.key");
    const link = join(directory, "link");
    writeFileSync(file, "secret");
    symlinkSync(file, link);
    chmodSync(file, 0o644);
    for (const path of [file, link])
      await t.rejects(readSecret(path, "the private key"), {
        name: "UserError",
        message: `the private key ${path} is open to others (mode 0644): run: chmod 600 ${path} (for a volume of Kubernetes: defaultMode 0440 and fsGroup). If others can have read it, make a new one`,
      });
    chmodSync(file, 0o600);
    for (const path of [file, link])
      t.equal(await readSecret(path, "the private key"), "secret");
    await t.rejects(readSecret(join(directory, "none"), "the private key"), {
      message: /the private key .*none: ENOENT/,
    });
  },
);

const EVERYBODY = { message: /every user .* can write to it/ };

void t.test("a file of roots is used by its mode", async (t) => {
  const file = join(t.testdir({ "roots.pem": "text" }), "roots.pem");
  const link = `${file}.link`;
  symlinkSync(file, link);
  for (const mode of [0o600, 0o644, 0o664, 0o444, 0o640]) {
    chmodSync(file, mode);
    t.equal(await readTrusted(file), "text", mode.toString(8));
  }
  for (const mode of [0o666, 0o646, 0o602, 0o777]) {
    chmodSync(file, mode);
    await t.rejects(readTrusted(link), EVERYBODY, mode.toString(8));
  }
  await t.rejects(readTrusted(`${file}.none`), { code: "ENOENT" });
});

void t.test("the roots of an issuer, and of a sidecar", async (t) => {
  const clock = fakeClock();
  const directory = t.testdir();
  const authority = fakeAuthority({ now: clock.wall() });
  const pems = authority.issue();
  const files = {
    certificate: join(directory, "web.crt"),
    privateKey: join(directory, "web.key"),
    trustBundle: join(directory, "roots.pem"),
  };
  writeFileSync(files.certificate, pems.certificateChain);
  writeFileSync(files.privateKey, pems.privateKey, { mode: 0o600 });
  writeFileSync(files.trustBundle, authority.bundle);
  const logger = silentLogger;
  const roots = (): Promise<void> =>
    openIssuerRoots({ file: files.trustBundle, clock, logger }).then((open) =>
      open.close(),
    );
  const sidecar = (): Promise<void> =>
    openFileCertificate({
      source: certificateFiles(files),
      declared: { name: "web-1", labels: {} },
      onChange: () => undefined,
      ...{ clock, logger },
    }).then((open) => open.close());
  for (const open of [roots, sidecar]) {
    chmodSync(files.trustBundle, 0o666);
    await t.rejects(open(), EVERYBODY);
    chmodSync(files.trustBundle, 0o644);
    await open();
  }
});
