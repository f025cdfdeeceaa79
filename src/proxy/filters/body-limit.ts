/** Request bodies that are longer than the Service accepts: refused by their declared length, or as soon as more than that has come. */
import { MeshError } from "../../mesh/errors.ts";
import type { BodyLimit } from "../../policy/snapshot.ts";
import type { RequestHead } from "../../wire/exchange.ts";
import type {
  BodyFilter,
  RequestBodyReceiver,
} from "../exchange/body-filter.ts";

/** The refusal of a request whose declared length is over the limit: nothing of it reaches the application. */
export function refusedLength(
  { contentLength = 0 }: RequestHead,
  limit: BodyLimit,
): MeshError | undefined {
  return contentLength > limit.bytes ? tooLarge(limit, true) : undefined;
}

/** Counts a body as it comes: its length need not be declared. The piece that goes over the limit is not passed on. */
export function limitBody(limit: BodyLimit): BodyFilter {
  return {
    request(next: RequestBodyReceiver): RequestBodyReceiver {
      let left = limit.bytes;
      return {
        data(chunk) {
          if (left < 0) return;
          left -= chunk.length;
          if (left < 0) next.refused(tooLarge(limit, false));
          else next.data(chunk);
        },
        end(trailers) {
          if (left >= 0) next.end(trailers);
        },
        abort: (error) => next.abort(error),
        drained: () => next.drained(),
        refused: (error) => next.refused(error),
      };
    },
  };
}

function tooLarge(
  { bytes, policy }: BodyLimit,
  unprocessed: boolean,
): MeshError {
  return new MeshError(
    "BODY_TOO_LARGE",
    `${policy} accepts request bodies of at most ${bytes} bytes`,
    { source: "downstream", unprocessed, policy },
  );
}
