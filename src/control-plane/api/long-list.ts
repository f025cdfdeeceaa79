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

/** Texts of items, one behind the other. */
type Texts = readonly string[];

/**
 * `name`: the field of the body that is the long list. No field of that name stands before it, at any depth. `complete` makes of an item
 * what is written, or undefined where that is gone by then; only a few results are there at a time.
 */
export async function sendLong<N extends string, T>(
  reply: FastifyReply,
  body: Readonly<Record<N, readonly T[]>>,
  name: N,
  clock: Clock,
  complete: (item: T) => Promise<unknown> = asIs,
): Promise<FastifyReply> {
  const items = body[name];
  const pause = pauses(clock);
  if (items.length <= GROUP) {
    const all = await eachOf(items, complete, pause);
    return reply.send({ ...body, [name]: all });
  }
  const textOf = async (item: T): Promise<string | undefined> =>
    JSON.stringify(await complete(item));
  // Before the response begins: an error is one of the request.
  const first = await eachOf(items.slice(0, GROUP), textOf, pause);
  const frame = JSON.stringify({ ...body, [name]: [] });
  const opened = `"${name}":[`;
  const start = frame.indexOf(`${opened}]`) + opened.length;
  const list = new LongList(frame.slice(0, start));
  list
    .write(items, first, textOf, frame.slice(start), pause)
    // It has ended the stream by its error.
    .catch(() => undefined);
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
    first: Texts,
    textOf: (item: T) => Promise<string | undefined>,
    closing: string,
    pause: Pause,
  ): Promise<void> {
    try {
      let group = first;
      let before = "";
      for (let next = 0; next < items.length; next += GROUP) {
        await pause();
        if (this.destroyed) return;
        if (next > 0)
          group = await eachOf(items.slice(next, next + GROUP), textOf, pause);
        if (group.length === 0) continue;
        this.push(`${before}${group.join(",")}`);
        before = ",";
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

/** What a status is made of dies before the next one is made: what is left of it is its text. */
async function eachOf<T, R>(
  items: readonly T[],
  make: (item: T) => Promise<R | undefined>,
  pause: Pause,
): Promise<readonly R[]> {
  const made: R[] = [];
  for (const item of items) {
    await pause();
    const result = await make(item);
    if (result !== undefined) made.push(result);
  }
  return made;
}

function asIs<T>(item: T): Promise<T> {
  return Promise.resolve(item);
}
