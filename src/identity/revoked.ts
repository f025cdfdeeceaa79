/** Which certificates are put out before their time: by identity, by instance or by serial number. */
import type { X509Certificate } from "node:crypto";
import type { SpiffeUri, WallMs } from "../core/units.ts";
import { readBinding } from "./extensions.ts";
import type { SpiffeId } from "./spiffe.ts";

/** What one revocation concerns. It has a serial number, or else an instance, or else an identity. */
export interface Revocation {
  /** Under which the operator finds it. */
  readonly name: string;
  readonly identity?: SpiffeUri | undefined;
  /** "NAMESPACE/NAME"; beside a serial number: whose certificate that is. */
  readonly instance?: string | undefined;
  /** As `normalSerial` gives it. */
  readonly serial?: string | undefined;
  /** Certificates whose validity begins later are not concerned. */
  readonly beginsUpTo?: WallMs | undefined;
  readonly until?: WallMs | undefined;
}

/** What a connection was proven by, or what the mesh says of its other end where that proves nothing. */
export interface Proof {
  readonly uri: SpiffeUri | undefined;
  /** "NAMESPACE/NAME" */
  readonly instance: string | undefined;
  /** The certificate's; undefined where there is none. */
  readonly certificate:
    | { readonly serial: string; readonly begins: WallMs }
    | undefined;
}

/** What the peer's certificate proves. */
export function proofOf(
  leaf: X509Certificate,
  uri: SpiffeUri,
  { namespace }: SpiffeId,
): Proof {
  const name = readBinding(leaf)?.name;
  return {
    uri,
    instance: name === undefined ? undefined : `${namespace}/${name}`,
    certificate: {
      serial: normalSerial(leaf.serialNumber),
      begins: leaf.validFromDate.getTime(),
    },
  };
}

/** A serial number in the one form that is compared: upper-case hexadecimal, without colons and leading zeros. */
export function normalSerial(text: string): string {
  return text
    .replaceAll(":", "")
    .replace(/^0+(?=.)/, "")
    .toUpperCase();
}

/** All revocations of the mesh. Immutable; a look costs the same, however many there are. */
export class Revoked {
  static readonly NONE: Revoked = new Revoked([]);
  /** By what they concern. */
  readonly #known = new Map<string, Revocation>();
  readonly #bySerial = new Map<string, Revocation[]>();
  readonly #byInstance = new Map<string, Revocation[]>();
  readonly #byIdentity = new Map<string, Revocation[]>();

  constructor(revocations: Iterable<Revocation>) {
    for (const revocation of revocations) {
      const { serial, instance, identity } = revocation;
      this.#known.set(textOf(revocation), revocation);
      if (serial !== undefined) append(this.#bySerial, serial, revocation);
      if (instance !== undefined)
        append(this.#byInstance, instance, revocation);
      else if (identity !== undefined)
        append(this.#byIdentity, identity, revocation);
    }
  }

  get size(): number {
    return this.#known.size;
  }

  /** Whether it puts out anything that `before` does not. */
  goesBeyond(before: Revoked): boolean {
    if (this === before) return false;
    for (const [text, { until }] of this.#known) {
      const known = before.#known.get(text);
      if (known === undefined || known.until !== until) return true;
    }
    return false;
  }

  /** Why what was proven does not stand; undefined where it does. A revocation is over once all of `times` say so. */
  faultOf(proof: Proof, times: readonly WallMs[]): string | undefined {
    if (this.size === 0) return undefined;
    for (const revocation of this.#about(proof))
      if (concerns(revocation, proof) && isInForce(revocation, times))
        return faultBy(revocation);
    return undefined;
  }

  /**
   * As `faultOf`, for an end that proves nothing: also a revocation of single certificates of its instance puts it out, where that is
   * not in `before`. Nobody knows under which certificate it was registered; what is called later was registered anew.
   */
  claimFault(
    claim: Proof,
    times: readonly WallMs[],
    before: Revoked,
  ): string | undefined {
    for (const revocation of this.#about(claim))
      if (
        (isWhole(revocation) || !before.#known.has(textOf(revocation))) &&
        isInForce(revocation, times)
      )
        return faultBy(revocation);
    return undefined;
  }

  *#about({ uri, instance, certificate }: Proof): Generator<Revocation> {
    if (certificate !== undefined)
      yield* this.#bySerial.get(certificate.serial) ?? [];
    if (instance !== undefined) yield* this.#byInstance.get(instance) ?? [];
    if (uri !== undefined) yield* this.#byIdentity.get(uri) ?? [];
  }
}

function append(
  map: Map<string, Revocation[]>,
  key: string,
  revocation: Revocation,
): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [revocation]);
  else list.push(revocation);
}

function textOf(revocation: Revocation): string {
  const { name, identity, instance, serial, beginsUpTo } = revocation;
  return [name, identity, instance, serial, beginsUpTo].join(" ");
}

/** Every certificate of an instance or identity, and not some of them. */
function isWhole({ serial, beginsUpTo }: Revocation): boolean {
  return serial === undefined && beginsUpTo === undefined;
}

function concerns(
  { serial, beginsUpTo }: Revocation,
  { certificate }: Proof,
): boolean {
  // What has no certificate proves nothing, and is not spared by that.
  if (certificate === undefined) return true;
  if (serial !== undefined) return certificate.serial === serial;
  return beginsUpTo === undefined || certificate.begins <= beginsUpTo;
}

function isInForce({ until }: Revocation, times: readonly WallMs[]): boolean {
  return until === undefined || times.some((time) => time < until);
}

function faultBy({ name, serial, instance, identity }: Revocation): string {
  const what =
    serial === undefined
      ? instance === undefined
        ? `the identity ${identity ?? ""}`
        : `the instance ${instance}`
      : `the certificate with the serial number ${serial}`;
  return `${what} is revoked by the Revocation ${name}`;
}
