/** Questions and replies of DNS, written and read by the package, as a client does. */
import { createRequire } from "node:module";

interface Packet {
  readonly id: number;
  readonly rcode: string;
  readonly flag_tc: boolean;
  readonly flag_qr: boolean;
  readonly questions: readonly {
    readonly name: string;
    readonly type: string;
  }[];
  readonly answers: readonly {
    readonly name: string;
    readonly type: string;
    readonly ttl?: number;
    readonly data: unknown;
  }[];
  readonly additionals: readonly {
    readonly type: string;
    readonly udpPayloadSize?: number;
  }[];
}

/** The whole of it, with types of what tests use. */
const codec = createRequire(import.meta.url)("dns-packet") as {
  encode(packet: object): Buffer;
  decode(bytes: Buffer): Packet;
};

export interface Asked {
  readonly id?: number;
  readonly class?: string;
  /** Of a datagram; absent: without EDNS. */
  readonly size?: number;
}

export function question(
  name: string,
  type: string,
  asked: Asked = {},
): Buffer {
  const { id = 4242, size } = asked;
  return codec.encode({
    ...{ type: "query", id, flags: 0x100 },
    questions: [{ type, name, class: asked.class ?? "IN" }],
    additionals:
      size === undefined
        ? []
        : [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: size,
              flags: 0,
              options: [],
            },
          ],
  });
}

/** What a name server replies: with so many records of 15 bytes and the name. */
export function replyTo(
  bytes: Buffer,
  {
    rcode = 0,
    addresses = [],
  }: { rcode?: number; addresses?: readonly string[] } = {},
): Buffer {
  const { id, questions } = codec.decode(bytes);
  const reply = codec.encode({
    ...{ type: "response", id, flags: 0x180, questions },
    answers: addresses.map((data) => ({
      ...{ type: "A", name: questions[0]?.name, ttl: 60, data },
    })),
  });
  reply.writeUInt8((reply.readUInt8(3) & 0xf0) | rcode, 3);
  return reply;
}

export const read = (bytes: Buffer): Packet => codec.decode(bytes);

/** "NOERROR A 240.240.1.2" */
export function summary(bytes: Buffer): string {
  const { rcode, answers, flag_tc: cut } = read(bytes);
  const records = answers.map(
    ({ type, data }) =>
      `${type} ${Array.isArray(data) ? data.map(String).join() : String(data)}`,
  );
  return [rcode, ...(cut ? ["TC"] : []), ...records].join(" ");
}
