/** PEM files: certificates one after another, and what else may stand between them. */
import { createHash, X509Certificate } from "node:crypto";
import { messageOf, UserError } from "../core/errors.ts";

const BLOCK =
  /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;
/** Characters: a chain or bundle past this is a mistake or an attack. */
const LONGEST = 1024 * 1024;

/** Every certificate of a PEM text, in order. Throws UserError where there is none or one cannot be read; `what` names the text in the message. */
export function readCertificates(pem: string, what: string): X509Certificate[] {
  if (pem.length > LONGEST)
    throw new UserError(`${what}: over ${LONGEST} characters`);
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0 && /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem))
    throw new UserError(
      `${what}: it is a private key; are the files of certificate and key swapped?`,
    );
  if (blocks.length === 0)
    throw new UserError(
      `${what}: no certificate found; give PEM text with "-----BEGIN CERTIFICATE-----"`,
    );
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new UserError(
        `${what}: certificate ${index + 1} cannot be read: ${messageOf(error)}`,
        { cause: error },
      );
    }
  });
}

/** SHA-256 of the DER, in lower-case hexadecimal: what an enrolment token carries of the root. */
export function fingerprintOf(certificate: X509Certificate): string {
  return createHash("sha256").update(certificate.raw).digest("hex");
}

/** Whether a certificate of the one PEM text is not in the other. Throws UserError as `readCertificates`. */
export function losesRoots(before: string, after: string): boolean {
  if (before === after) return false;
  const left = new Set(
    readCertificates(after, "trust bundle").map(fingerprintOf),
  );
  return readCertificates(before, "trust bundle").some(
    (root) => !left.has(fingerprintOf(root)),
  );
}
