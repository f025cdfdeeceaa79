/** Makes private keys. */
import { generateKeyPairSync } from "node:crypto";

/** A new P-256 key; PKCS #8 PEM. */
export function generatePrivateKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" });
}
