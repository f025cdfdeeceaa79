/** A long list as the bytes of its JSON, written in slices: the same bytes as at once, and no pause for other requests. */
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Clock } from "../../core/clock.ts";
import { pauses } from "../../core/slices.ts";
import { JSON_TYPE } from "./bodies.ts";
import type { ResourceList } from "./routes/resource-handlers.ts";

/** So many items are written at a time; a list that has no more is written at once. */
const GROUP = 50;

export async function sendList(
  reply: FastifyReply,
  list: ResourceList,
  clock: Clock,
): Promise<FastifyReply> {
  if (list.items.length <= GROUP) return reply.send(list);
  const head = JSON.stringify({ ...list, items: [] }).slice(0, -"]}".length);
  const parts = [Buffer.from(head)];
  const pause = pauses(clock);
  for (let start = 0; start < list.items.length; start += GROUP) {
    await pause();
    const group = list.items.slice(start, start + GROUP);
    const text = group.map((item) => JSON.stringify(item)).join(",");
    parts.push(Buffer.from(start === 0 ? text : `,${text}`));
  }
  parts.push(Buffer.from("]}"));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return reply
    .type(JSON_TYPE)
    .header("content-length", length)
    .send(Readable.from(parts, { objectMode: false }));
}
