/** An issuer of workload certificates outside this process: its roots, what it is asked, and the judgement of its response. */
import type { X509Certificate } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import type { Watch } from "../../core/watch.ts";
import { readCsr } from "../../identity/csr.ts";
import { readCertificates } from "../../identity/pem.ts";
import {
  BACKDATED,
  type SignedCertificate,
  type SigningRequest,
} from "../authority/authority.ts";
import type { RemoteSigner } from "./http-issuer.ts";
import { judgeIssued, type Asked } from "./issued-chain.ts";
import type { SignedBy } from "./signed-by.ts";

export interface ExternalIssuerOptions {
  readonly roots: Watch<readonly X509Certificate[]>;
  /** Absent: its roots are trusted, and the control plane's own authority issues. */
  readonly signer?: RemoteSigner;
  /** What it is called. */
  readonly signedBy?: SignedBy;
  readonly clock: Pick<Clock, "wall">;
}

export class ExternalIssuer {
  readonly #options: ExternalIssuerOptions;

  constructor(options: ExternalIssuerOptions) {
    this.#options = options;
  }

  get roots(): Watch<readonly X509Certificate[]> {
    return this.#options.roots;
  }

  get signedBy(): SignedBy | undefined {
    return this.#options.signedBy;
  }

  get signs(): boolean {
    return this.#options.signer !== undefined;
  }

  /** Rejects with the reason where there is no certificate as it was asked for. */
  async sign(
    csr: string,
    { spiffeId, name, labels, addresses = [], ttlMs }: SigningRequest,
    signal: AbortSignal,
  ): Promise<SignedCertificate> {
    const { signer, roots, clock } = this.#options;
    if (signer === undefined) throw new Error("no external issuer signs");
    const now = clock.wall();
    const asked: Asked = {
      ...{ csr, spiffeId, binding: { name, labels, addresses } },
      publicKey: readCsr(csr),
      notBefore: wholeSeconds(now - BACKDATED),
      notAfter: wholeSeconds(now + ttlMs),
      seconds: Math.floor(ttlMs / 1000),
    };
    const response = await signer.sign(asked, signal);
    const certificateChain = judgeIssued(
      response,
      asked,
      roots.value,
      clock.wall(),
    );
    const [leaf] = readCertificates(certificateChain, "certificate");
    return {
      certificateChain,
      notAfter: leaf?.validToDate.getTime() ?? asked.notAfter,
    };
  }
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
