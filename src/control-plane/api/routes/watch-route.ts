/** A list that is watched: its response goes on with each change until the client, the API or its time ends it, or its token is good no more. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../../core/clock.ts";
import type { KindDefinition } from "../../../resources/kind.ts";
import type { ApiOptions } from "../options.ts";
import { standsYet } from "../rights/authentication.ts";
import { openWatch } from "../watch.ts";
import { readSelector, type Target } from "./resource-handlers.ts";
import { fieldsOf } from "./route-parts.ts";

/** Milliseconds between two looks at the token, or the client certificate: as long as sidecars' connections outlive theirs. */
const LOOK_AGAIN = 5000;

export async function watch(
  { store, clock }: ApiOptions,
  definition: KindDefinition,
  { namespace }: Target,
  closing: AbortSignal,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = fieldsOf(request.query);
  const after = query["resourceVersion"];
  const seconds = query["timeoutSeconds"];
  const over = overSignal(
    clock,
    request,
    reply,
    seconds === undefined ? undefined : Number(seconds) * 1000,
  );
  const stream = await openWatch({
    store,
    clock,
    definition,
    namespace,
    matches: readSelector(query["labelSelector"]),
    after: after === undefined ? undefined : Number(after),
    bookmarks: isYes(query["allowWatchBookmarks"]),
    signal: AbortSignal.any([closing, over]),
  });
  // A watch of what seldom changes responds at once too, or its client would wait for it to begin.
  reply.raw.once("pipe", () => reply.raw.flushHeaders());
  return reply.type("application/jsonl").send(stream);
}

function isYes(text: string | undefined): boolean {
  return text === "1" || text === "true";
}

/** Aborts when the client goes away or has no right any more, or after `ms`. */
function overSignal(
  clock: Clock,
  request: FastifyRequest,
  reply: FastifyReply,
  ms: number | undefined,
): AbortSignal {
  const over = new AbortController();
  const cancel =
    ms === undefined ? undefined : clock.after(ms, () => over.abort());
  const cancelLooks = clock.every(LOOK_AGAIN, () => {
    standsYet(request)
      .then((stands) => {
        if (!stands) over.abort();
      })
      // A store that cannot be read now is read at the next look.
      .catch(() => undefined);
  });
  reply.raw.once("close", () => {
    cancel?.();
    cancelLooks();
    over.abort();
  });
  return over.signal;
}
