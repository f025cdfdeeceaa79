/** What a chain costs that OpenSSL did not take: a stranger brings it. */
import {
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import t from "tap";
import { untimelyChainFault } from "../../src/identity/chain.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import {
  authorityExtensions,
  oddCertificate,
} from "../support/certificates/odd-certificates.ts";
import { mesh } from "../support/certificates/presented.ts";

/** Nobody has the private key. */
function rsa(bits: number, exponent: string): KeyObject {
  const modulus = randomBytes(bits / 8);
  modulus[0] = 0xff;
  return createPublicKey({
    format: "jwk",
    key: {
      kty: "RSA",
      n: modulus.toString("base64url"),
      e: Buffer.from(exponent, "hex").toString("base64url"),
    },
  });
}

void t.test("a key that costs too much verifies nothing", (t) => {
  const dsa = { modulusLength: 1024, divisorLength: 160 };
  const rows: readonly (readonly [string, KeyObject, RegExp])[] = [
    ["a usual one", rsa(2048, "010001"), /signed by none of the trusted roots/],
    ["the largest", rsa(8192, "ffffffff"), /signed by none of the trusted/],
    ["exponent", rsa(8192, "0100000001"), /its key is too large/],
    ["modulus", rsa(8256, "010001"), /its key is too large/],
    ["both", rsa(16_384, "ffffffffffffffff"), /its key is too large/],
    ["small", rsa(1024, "010001"), /its key is weak/],
    ["DSA", generateKeyPairSync("dsa", dsa).publicKey, /its key is a DSA key/],
  ];
  const roots = readCertificates(mesh.bundle, "roots");
  const [leaf] = readCertificates(mesh.issue().certificateChain, "leaf");
  for (const [what, publicKey, expected] of rows) {
    const { pem } = oddCertificate({
      issuer: mesh.issuing,
      commonName: "test issuing authority",
      extensions: Object.values(authorityExtensions()),
      publicKey,
    });
    const chain = [leaf, ...readCertificates(pem, "issuer")];
    const fault = untimelyChainFault(
      chain.filter((each) => each !== undefined),
      roots,
      Date.now(),
    );
    t.match(fault, expected, what);
  }
  t.end();
});
