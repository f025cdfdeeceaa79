/** Certificates for a measurement: an authority of its own, a caller and a callee. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../src/core/clock.ts";
import { openAuthority } from "../src/control-plane/authority/authority.ts";
import { generatePrivateKey } from "../src/identity/private-key.ts";
import { createCsr } from "../src/identity/x509.ts";
import type { Certificates } from "./peer.ts";

export const TRUST_DOMAIN = "demo";
export const CALLER: string = `spiffe://${TRUST_DOMAIN}/ns/bench/sa/caller`;
export const CALLEE: string = `spiffe://${TRUST_DOMAIN}/ns/bench/sa/callee`;

export async function makeCertificates(
  directory: string,
  clock: Clock,
): Promise<Certificates> {
  const authority = await openAuthority({
    directory: join(directory, "authority"),
    trustDomain: TRUST_DOMAIN,
    clock,
  });
  const root = join(directory, "root.crt");
  await writeFile(root, authority.trustBundle);
  const issue = async (
    name: string,
    id: string,
  ): Promise<Certificates["caller"]> => {
    const privateKey = generatePrivateKey();
    const request = {
      spiffeId: id,
      name: `${name}-1`,
      labels: { app: name },
      ttlMs: 86_400_000,
    };
    const { certificateChain } = authority.sign(createCsr(privateKey), request);
    const files = {
      certificate: join(directory, `${name}.crt`),
      key: join(directory, `${name}.key`),
      id,
    };
    await writeFile(files.certificate, certificateChain);
    await writeFile(files.key, privateKey, { mode: 0o600 });
    return files;
  };
  return {
    root,
    caller: await issue("caller", CALLER),
    callee: await issue("callee", CALLEE),
  };
}
