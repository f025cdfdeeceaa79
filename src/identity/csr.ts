/** Reads certificate requests (PKCS #10) from strangers: the proof of possession is checked, everything that they claim is ignored. */
import { createPublicKey, verify, type KeyObject } from "node:crypto";
import { messageOf, UserError } from "../core/errors.ts";
import {
  bitStringOctets,
  childrenOf,
  encodeOid,
  expectTag,
  readElement,
  Tag,
} from "./der.ts";

const BLOCK =
  /^\s*-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]*)-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/;
/** Characters of PEM: a P-256 request takes about 400. */
const LONGEST = 16_384;
const ECDSA_WITH_SHA256 = encodeOid("1.2.840.10045.4.3.2");

/** The public key of a request whose signature proves that the sender holds the private one. Throws UserError otherwise. */
export function readCsr(pem: string): KeyObject {
  const base64 = pem.length > LONGEST ? undefined : BLOCK.exec(pem)?.[1];
  if (base64 === undefined)
    throw new UserError(
      'certificate request: not one PEM block "CERTIFICATE REQUEST" of at most 16 KiB',
    );
  let publicKey: KeyObject;
  let proven: boolean;
  try {
    const request = readElement(Buffer.from(base64, "base64"));
    const [info, algorithm, signature] = childrenOf(
      expectTag(request, Tag.SEQUENCE),
    );
    const body = expectTag(info, Tag.SEQUENCE);
    const signedWith = childrenOf(expectTag(algorithm, Tag.SEQUENCE))[0];
    if (!expectTag(signedWith, Tag.OID).value.equals(ECDSA_WITH_SHA256))
      throw new UserError("it is not signed with ecdsa-with-SHA256");
    publicKey = createPublicKey({
      key: expectTag(childrenOf(body)[2], Tag.SEQUENCE).whole,
      format: "der",
      type: "spki",
    });
    if (publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1")
      throw new UserError("its key is not on the curve P-256");
    proven = verify(
      "sha256",
      body.whole,
      publicKey,
      bitStringOctets(expectTag(signature, Tag.BIT_STRING)),
    );
  } catch (error) {
    throw new UserError(
      `certificate request cannot be read: ${messageOf(error)}; make one with a P-256 key, signed with SHA-256`,
      { cause: error },
    );
  }
  if (!proven)
    throw new UserError(
      "certificate request: the signature does not fit the key: the sender does not hold it",
    );
  return publicKey;
}
