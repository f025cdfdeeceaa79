/** An authority for operators, and an API's own certificate: valid by the clock of a test and by the machine's. */
import {
  createPrivateKey,
  createPublicKey,
  X509Certificate,
} from "node:crypto";
import { Oid } from "../../../src/identity/extensions.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { issueCertificate } from "../../../src/identity/x509.ts";
import {
  leafExtensions,
  namesOf,
  oddCertificate,
  purposes,
  tlv,
  uris,
  utc,
  utcText,
} from "./odd-certificates.ts";

export interface ClientTemplate {
  readonly uris?: readonly string[];
  readonly commonName?: string;
  /** Wall-clock milliseconds. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** A server's IPv4 address. */
  readonly address?: readonly number[];
  /** Not for clients. */
  readonly forServers?: boolean;
}

export interface ClientAuthority {
  /** PEM of the root. */
  readonly bundle: string;
  issue(template: ClientTemplate): {
    readonly cert: string;
    readonly key: string;
  };
}

const DAY = 86_400_000;

/** `wall`: of the test's clock. */
export function clientAuthority(wall: number): ClientAuthority {
  const validity = {
    notBefore: Math.min(wall, Date.now()) - DAY,
    notAfter: Math.max(wall, Date.now()) + DAY,
  };
  const privateKey = createPrivateKey(generatePrivateKey());
  const bundle = issueCertificate({
    commonName: "operators",
    publicKey: createPublicKey(privateKey),
    ...validity,
    profile: { kind: "authority" },
    issuer: { selfSignedWith: privateKey },
  });
  const issuer = { certificate: new X509Certificate(bundle), privateKey };
  return {
    bundle,
    issue({ commonName, forServers = false, ...template }) {
      const { name: _name, ...rest } = leafExtensions("");
      const { pem, privateKeyPem } = oddCertificate({
        issuer,
        extensions: Object.values({
          ...rest,
          purposes: purposes(forServers ? Oid.SERVER_AUTH : Oid.CLIENT_AUTH),
          ...(template.address === undefined
            ? {}
            : { names: namesOf(tlv(0x87, Buffer.from(template.address))) }),
          ...(template.uris === undefined
            ? {}
            : {
                names: uris(...template.uris),
              }),
        }),
        ...(commonName === undefined ? {} : { commonName }),
        validity: [
          utc(utcText(template.notBefore ?? validity.notBefore)),
          utc(utcText(template.notAfter ?? validity.notAfter)),
        ],
      });
      return { cert: pem, key: privateKeyPem };
    },
  };
}
