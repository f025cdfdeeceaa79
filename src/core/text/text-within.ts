/** The text of a response that another end decides the length of. */
import type { Bytes } from "../units.ts";

/** Rejects with `tooLong`, having read no further, where it has more bytes than `limit`. */
export async function textWithin(
  body: AsyncIterable<unknown>,
  limit: Bytes,
  tooLong: (limit: Bytes) => Error,
): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue;
    length += chunk.length;
    if (length > limit) throw tooLong(limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
