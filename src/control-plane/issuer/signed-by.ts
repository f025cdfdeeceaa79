/** What an issuer outside the control plane is called, in the audit log and in metrics. */

export interface SignedBy {
  readonly kind: "http" | "vault";
  /** Without what a URL may have of secrets. */
  readonly address: string;
}

export function signedBy(kind: SignedBy["kind"], url: URL): SignedBy {
  return { kind, address: `${url.origin}${url.pathname}` };
}

export function nameOf({ kind, address }: SignedBy): string {
  return `${kind} ${address}`;
}
