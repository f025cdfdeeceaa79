/** Writes PEM, for what makes certificates: node-forge is large, and what only reads certificates does without it. */
import forge from "node-forge";

/** DER to PEM. */
export function toPem(label: string, der: Buffer): string {
  return forge.pem
    .encode({ type: label, body: der.toString("latin1") }, { maxline: 64 })
    .replaceAll("\r\n", "\n");
}
