/** A body with a long list as the bytes of its JSON, written in slices: the same bytes as at once, and no pause for other requests. */
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Clock } from "../../core/clock.ts";
import { pauses } from "../../core/slices.ts";
import { JSON_TYPE } from "./bodies.ts";

/** So many items are written at a time; a list that has no more is written at once. */
const GROUP = 50;

/** `name`: the field of the body that is the long list. No field of that name stands before it, at any depth. */
export async function sendLong<N extends string>(
  reply: FastifyReply,
  body: Readonly<Record<N, readonly unknown[]>>,
  name: N,
  clock: Clock,
): Promise<FastifyReply> {
  const items = body[name];
  if (items.length <= GROUP) return reply.send(body);
  const frame = JSON.stringify({ ...body, [name]: [] });
  const opened = `"${name}":[`;
  const start = frame.indexOf(`${opened}]`) + opened.length;
  const parts = [Buffer.from(frame.slice(0, start))];
  const pause = pauses(clock);
  for (let next = 0; next < items.length; next += GROUP) {
    await pause();
    const group = items.slice(next, next + GROUP);
    const text = group.map((item) => JSON.stringify(item)).join(",");
    parts.push(Buffer.from(next === 0 ? text : `,${text}`));
  }
  parts.push(Buffer.from(frame.slice(start)));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return reply
    .type(JSON_TYPE)
    .header("content-length", length)
    .send(Readable.from(parts, { objectMode: false }));
}
