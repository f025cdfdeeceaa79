/** Who calls: the instance that a verified certificate stands for. What a sidecar sees and registers follows from this alone. */
import type { SpiffeUri, WallMs } from "../../core/units.ts";
import type { Proof } from "../../identity/revoked.ts";

export interface Peer {
  /** SPIFFE id, as a URI. */
  readonly identity: SpiffeUri;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Instance name and labels, bound by the CA (trap 16). */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** SHA-256 of the certificate's public key, in hex: tells two holders of one identity apart. */
  readonly key: string;
  /** As `normalSerial` gives it. */
  readonly serial: string;
  /** Wall milliseconds: where its validity begins, which the authority sets back. */
  readonly certificateNotBefore: WallMs;
  /** Fingerprint of the root that its certificate leads to. */
  readonly root: string;
  /** Wall milliseconds. */
  readonly certificateExpiresAt: WallMs;
  /** Addresses that an administrator lets it register besides the one that it calls from, as CIDR; bound by the CA too. */
  readonly addresses: readonly string[];
  /** IP address of its connection. */
  readonly source: string;
  /** "ADDRESS:PORT" of its connection: for people to read, never to find somebody by. */
  readonly address: string;
}

/** What the peer's certificate proves. */
export function proofOfPeer(peer: Peer): Proof {
  const { identity: uri, serial, certificateNotBefore: begins } = peer;
  const instance = workloadOf(peer);
  return { uri, instance, certificate: { serial, begins } };
}

/** "NAMESPACE/NAME" of the workload that the peer is. */
export function workloadOf(peer: Peer): string {
  return `${peer.namespace}/${peer.name}`;
}
