/** What an end of the link presents: chains of one mesh, right but for what a row of a table changes. */
import { KeyUsage, Oid } from "../../../src/identity/extensions.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import type { Issuer } from "../../../src/identity/x509.ts";
import { fakeAuthority, type FakeAuthority } from "./certificate-authority.ts";
import {
  authorityExtensions,
  constraints,
  ia5,
  keyUsage,
  leafExtensions,
  oddCertificate,
  tlv,
  uris,
  type OddCertificate,
  type OddExtension,
  type OddTemplate,
} from "./odd-certificates.ts";

export interface Presented {
  readonly chain: string;
  readonly key: string;
}

/** Takes the place of an extension that is right, or comes besides; undefined: it is left out. */
type Change = Readonly<Record<string, OddExtension | undefined>>;

interface More extends Partial<OddTemplate> {
  /** The extension that is there a second time. */
  readonly twice?: string;
}

export const mesh: FakeAuthority = fakeAuthority();
export const web: string = mesh.id("web");
const issuing = mesh.issuing.certificate.toString();

function changed(
  right: Readonly<Record<string, OddExtension>>,
  change: Change,
  twice: string | undefined,
): readonly OddExtension[] {
  const extensions: Change = { ...right, ...change };
  const list = Object.values(extensions).filter((each) => each !== undefined);
  const again = twice === undefined ? undefined : extensions[twice];
  return again === undefined ? list : [...list, again];
}

/** A leaf of the mesh's own issuing certificate. */
export function leaf(
  change: Change,
  { twice, ...more }: More = {},
  above: string = issuing,
): Presented {
  const { pem, privateKeyPem } = oddCertificate({
    issuer: mesh.issuing,
    extensions: changed(leafExtensions(web), change, twice),
    ...more,
  });
  return { chain: pem + above, key: privateKeyPem };
}

export function named(...names: readonly string[]): Presented {
  return leaf({ name: uris(...names) });
}

/** A right leaf beneath a signing certificate of the root. */
export function beneath(
  change: Change,
  { twice, ...more }: More = {},
  uri: string = web,
): Presented {
  const signing = oddCertificate({
    issuer: mesh.rootIssuer,
    commonName: "odd authority",
    extensions: changed(authorityExtensions(), change, twice),
    ...more,
  });
  return signedBy(signing, signing.pem, uri);
}

function signedBy(
  signer: OddCertificate,
  above: string,
  uri: string,
): Presented {
  const { pem, privateKeyPem } = oddCertificate({
    issuer: issuerOf(signer),
    extensions: Object.values(leafExtensions(uri)),
  });
  return { chain: pem + above, key: privateKeyPem };
}

function issuerOf({ pem, privateKey }: OddCertificate): Issuer {
  const [certificate] = readCertificates(pem, "signer");
  if (certificate === undefined) throw new Error("unreachable");
  return { certificate, privateKey };
}

/** permittedSubtrees [0] or excludedSubtrees [1] of one GeneralSubtree whose base is the URI's host. */
export function nameConstraint(
  trustDomain: string,
  subtrees: 0 | 1 = 0,
): OddExtension {
  return {
    oid: Oid.NAME_CONSTRAINTS,
    critical: true,
    value: tlv(0x30, tlv(0xa0 + subtrees, tlv(0x30, ia5(0x86, trustDomain)))),
  };
}

export const unknown: OddExtension = {
  oid: "1.3.6.1.4.1.99999.1",
  critical: true,
  value: tlv(0x05),
};

/** A right leaf signed with the key of a workload. */
export function fromLeaf(): Presented {
  const signer = oddCertificate({
    issuer: mesh.issuing,
    commonName: "web",
    extensions: Object.values(leafExtensions(web)),
  });
  return signedBy(signer, signer.pem + issuing, mesh.id("admin"));
}

/** Authorities one below the other, as many as that, beneath the root or beneath the issuing certificate, which allows none. */
export function deep(count: number, top: Issuer): Presented {
  let signer: OddCertificate | undefined;
  let above = top === mesh.issuing ? issuing : "";
  for (let depth = 0; depth < count; depth += 1) {
    signer = oddCertificate({
      issuer: signer === undefined ? top : issuerOf(signer),
      commonName: `authority ${depth}`,
      extensions: [
        constraints(true),
        keyUsage([KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN]),
      ],
    });
    above = signer.pem + above;
  }
  if (signer === undefined) throw new RangeError("none is not deep");
  return signedBy(signer, above, web);
}
