/** A body with a long list as the bytes of its JSON, written in slices while its reader takes them: the same bytes as at once, and no pause for other requests. */
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { pauses, type Pause } from "../../core/slices.ts";
import type { Bytes } from "../../core/units.ts";
import { JSON_TYPE } from "./bodies.ts";

/** So many items are written at a time; a list that has no more is written at once. */
const GROUP = 50;

/**
 * `name`: the field of the body that is the long list. No field of that name stands before it, at any depth. `complete` makes of an item
 * what is written; only a few results are there at a time.
 */
export async function sendLong<N extends string, T>(
  reply: FastifyReply,
  body: Readonly<Record<N, readonly T[]>>,
  name: N,
  clock: Clock,
  complete: (item: T) => Promise<T> = asIs,
): Promise<FastifyReply> {
  const items = body[name];
  const pause = pauses(clock);
  const first = await completed(items.slice(0, GROUP), complete, pause);
  if (items.length <= GROUP) return reply.send({ ...body, [name]: first });
  const frame = JSON.stringify({ ...body, [name]: [] });
  const opened = `"${name}":[`;
  const start = frame.indexOf(`${opened}]`) + opened.length;
  const list = new LongList(frame.slice(0, start));
  void list.write(items, first, complete, frame.slice(start), pause);
  return reply.type(JSON_TYPE).send(list);
}

/** What is written of it waits here for its reader: a slow one does not hold up those that wait for a turn. */
export class LongList extends Readable {
  readonly #written = Promise.withResolvers<undefined>();

  constructor(opening: string) {
    super();
    this.push(opening);
    this.once("close", () => this.#written.resolve(undefined));
  }

  /** Resolves when all of it is written, or nobody wants it any more. */
  get written(): Promise<undefined> {
    return this.#written.promise;
  }

  /** Bytes that its reader has not taken. */
  get unread(): Bytes {
    return this.readableLength;
  }

  override _read(): void {
    // It is written at its own pace.
  }

  /** Never rejects: an error ends the stream. */
  async write<T>(
    items: readonly T[],
    first: readonly T[],
    complete: (item: T) => Promise<T>,
    closing: string,
    pause: Pause,
  ): Promise<void> {
    try {
      let group = first;
      for (let next = 0; next < items.length; next += GROUP) {
        await pause();
        if (this.destroyed) return;
        if (next > 0)
          group = await completed(
            items.slice(next, next + GROUP),
            complete,
            pause,
          );
        const text = group.map((item) => JSON.stringify(item)).join(",");
        this.push(next === 0 ? text : `,${text}`);
      }
      this.push(closing);
      this.push(null);
    } catch (thrown) {
      this.destroy(
        thrown instanceof Error ? thrown : new Error(messageOf(thrown)),
      );
    } finally {
      this.#written.resolve(undefined);
    }
  }
}

async function completed<T>(
  items: readonly T[],
  complete: (item: T) => Promise<T>,
  pause: Pause,
): Promise<readonly T[]> {
  const made: T[] = [];
  for (const item of items) {
    await pause();
    made.push(await complete(item));
  }
  return made;
}

function asIs<T>(item: T): Promise<T> {
  return Promise.resolve(item);
}
