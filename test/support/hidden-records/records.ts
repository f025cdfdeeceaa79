/** Records that a server's TLS 1.3 sends by itself, made by hand from the secret of a connection: none of them hands on a byte. */
import { createCipheriv, createHmac } from "node:crypto";

/** Bytes of what TLS_AES_128_GCM_SHA256 has. */
const [SECRET, KEY, IV, TAG] = [32, 16, 12, 16];
/** RFC 8446 5.1 and 4. */
const [HANDSHAKE, APPLICATION] = [22, 23];
const [NEW_SESSION_TICKET, KEY_UPDATE] = [4, 24];

/** What a server sends with, from now on. */
export interface Sender {
  readonly secret: Buffer;
  /** Records under this secret so far. */
  readonly sequence: number;
}

export interface Hidden {
  readonly bytes: Buffer;
  readonly sender: Sender;
}

export function keyUpdates(sender: Sender, count: number): Hidden {
  let { secret, sequence } = sender;
  const records: Buffer[] = [];
  while (records.length < count) {
    const update = message(KEY_UPDATE, Buffer.of(0));
    records.push(record({ secret, sequence }, HANDSHAKE, update));
    // The next record is under the keys that this one has brought (7.2).
    secret = expand(secret, "traffic upd", SECRET);
    sequence = 0;
  }
  return { bytes: Buffer.concat(records), sender: { secret, sequence } };
}

export function sessionTickets(
  { secret, sequence }: Sender,
  count: number,
): Hidden {
  const records = Array.from({ length: count }, (_, index) =>
    record(
      { secret, sequence: sequence + index },
      HANDSHAKE,
      // A minute's life, no age, a nonce of a byte, a ticket of four, no extension (4.6.1).
      message(
        NEW_SESSION_TICKET,
        Buffer.of(
          0,
          0,
          0,
          60,
          0,
          0,
          0,
          0,
          1,
          index & 0xff,
          0,
          4,
          1,
          2,
          3,
          4,
          0,
          0,
        ),
      ),
    ),
  );
  return {
    bytes: Buffer.concat(records),
    sender: { secret, sequence: sequence + count },
  };
}

/** The next record, of the kind that hands on what it has. */
export function dataRecord(sender: Sender, bytes: Buffer): Buffer {
  return record(sender, APPLICATION, bytes);
}

function message(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type, 0, 0, content.length), content]);
}

/** RFC 8446 5.2 and 5.3. */
function record(
  { secret, sequence }: Sender,
  type: number,
  content: Buffer,
): Buffer {
  const nonce = expand(secret, "iv", IV);
  const last = IV - 4;
  nonce.writeUInt32BE((nonce.readUInt32BE(last) ^ sequence) >>> 0, last);
  const head = Buffer.of(APPLICATION, 3, 3, 0, 0);
  head.writeUInt16BE(content.length + 1 + TAG, 3);
  const key = expand(secret, "key", KEY);
  const cipher = createCipheriv("aes-128-gcm", key, nonce).setAAD(head);
  const inner = cipher.update(Buffer.concat([content, Buffer.of(type)]));
  cipher.final();
  return Buffer.concat([head, inner, cipher.getAuthTag()]);
}

/** HKDF-Expand-Label (7.1) of no more than one block. */
function expand(secret: Buffer, name: string, length: number): Buffer {
  const label = Buffer.from(`tls13 ${name}`);
  const info = Buffer.concat([
    Buffer.of(0, length, label.length),
    label,
    // No context, and the number of the block.
    Buffer.of(0, 1),
  ]);
  return createHmac("sha256", secret).update(info).digest().subarray(0, length);
}
