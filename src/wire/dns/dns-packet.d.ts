/** The part of dns-packet that is used here; its own types would be a package more. */
declare module "dns-packet" {
  export interface Opt {
    readonly type: string;
    readonly udpPayloadSize?: number;
  }

  export interface Answer {
    readonly type: "A" | "AAAA" | "PTR" | "TXT" | "OPT";
    readonly name: string;
    readonly class?: "IN" | "CH";
    readonly ttl?: number;
    readonly data?: string;
    readonly udpPayloadSize?: number;
    readonly flags?: number;
    readonly options?: readonly never[];
  }

  /** Throws where the bytes are not a message. */
  export function decode(bytes: Buffer): {
    readonly additionals: readonly Opt[];
  };

  export const answer: {
    encode(answer: Answer): Uint8Array;
  };
}
