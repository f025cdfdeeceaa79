/** What says who is trusted is read from a file that not everybody writes. */
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readTrusted } from "../../src/core/trusted-file.ts";
import {
  certificateFiles,
  openFileCertificate,
} from "../../src/agent/files/file-certificate.ts";
import { openIssuerRoots } from "../../src/control-plane/issuer/issuer-roots.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const EVERYBODY = { message: /every user .* can write to it/ };

void t.test("by its mode", async (t) => {
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
