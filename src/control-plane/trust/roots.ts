/** The roots of the mesh as one set, and what the audit log hears when those of an external issuer change. */
import type { X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { fingerprintOf, readCertificates } from "../../identity/pem.ts";
import { authorOf, recordAct, type Act } from "../audit/audit.ts";
import type { Authority } from "../authority/authority.ts";
import { nameOf, type SignedBy } from "../issuer/signed-by.ts";

/** PEM, each root once, the first authority's first, and those of an external issuer last. */
export function rootsOf(
  authorities: readonly Authority[],
  external: readonly X509Certificate[],
): string {
  const roots = authorities.flatMap(({ trustBundle }) =>
    readCertificates(trustBundle, "root.crt"),
  );
  const byFingerprint = new Map(
    [...roots, ...external].map((root) => [fingerprintOf(root), root]),
  );
  return [...byFingerprint.values()].map((root) => root.toString()).join("");
}

export function fingerprintsOf(roots: string): readonly string[] {
  return readCertificates(roots, "root.crt").map(fingerprintOf).sort();
}

/** A root that comes or goes with the operator's file has nobody's request: what it changes is recorded all the same, before it is said. */
export async function recordExternal(
  store: { record(acts: readonly Act[]): Promise<void> },
  before: readonly string[],
  after: readonly string[],
  by: SignedBy | undefined,
): Promise<void> {
  if (isDeepStrictEqual(before, after)) return;
  const named = after.length === 0 ? "none" : after.join(", ");
  await recordAct(store, authorOf("--issuer-roots", ""), {
    ...{ verb: "trust", kind: "Trust", namespace: "" },
    name: after[0] ?? before[0] ?? "",
    note: `roots of an external issuer: ${named}${by === undefined ? "" : `, which ${nameOf(by)} signs under`}`,
  });
}
