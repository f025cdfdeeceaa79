/** The documented signing call: an HTTP server of the operator's own is asked for each certificate (config/guide/security.md). */
import { timestamp } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import { readSecret } from "../../core/secret-file.ts";
import { encodeBinding, Oid } from "../../identity/extensions.ts";
import type { Asked } from "./issued-chain.ts";
import type { IssuerClient } from "./issuer-client.ts";

/** Something that signs elsewhere. Its response is judged by others. */
export interface RemoteSigner {
  /** PEM, leaf first. */
  sign(asked: Asked, signal: AbortSignal): Promise<string>;
}

export function httpSigner(
  client: IssuerClient,
  url: URL,
  tokenFile: string | undefined,
): RemoteSigner {
  return {
    async sign({ csr, spiffeId, binding, notBefore, notAfter }, signal) {
      const octets = encodeBinding(binding);
      const { certificateChain } = await client.post(
        url,
        tokenFile === undefined
          ? {}
          : { authorization: `Bearer ${await readToken(tokenFile)}` },
        {
          csr,
          spiffeId,
          notBefore: timestamp(notBefore),
          notAfter: timestamp(notAfter),
          binding: {
            oid: Oid.BINDING,
            extension: octets.toString("base64"),
            otherName: octets.toString("base64url"),
          },
        },
        signal,
      );
      if (typeof certificateChain !== "string")
        throw new Error("its response has no certificateChain");
      return certificateChain;
    },
  };
}

/** Read for each call: it may be replaced. Throws UserError. */
export async function readToken(file: string): Promise<string> {
  const text = (await readSecret(file, "the issuer's token")).trim();
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new UserError(
      `the issuer's token ${file}: expected one line of visible characters`,
    );
  return text;
}
