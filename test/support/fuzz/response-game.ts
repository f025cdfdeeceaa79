/** Responses of a hostile application through several listeners: the caller gets the one that the bytes are by the letter, or a 502, or one that breaks off. */
import type { Game } from "./fuzzer.ts";
import type { Seen } from "./judge.ts";
import type { Received } from "./outcome.ts";
import {
  plainRequest,
  type FuzzRequest,
  type Pair,
} from "./requests/request.ts";
import { short, some } from "./request-game.ts";
import type { FuzzResponse } from "./responses/response.ts";
import { readByLetter, type ByLetter } from "./responses/response-by-letter.ts";
import {
  readFramesByLetter,
  type FramedResponse,
} from "./responses/response-http2.ts";

/** Fields that belong to a hop or to the mesh, which the caller does not get as they are. */
const HOP =
  /^(?:connection|keep-alive|proxy-connection|upgrade|te|http2-settings|transfer-encoding|content-length|x-wherry-.*|x-forwarded-client-cert)$/;
const FAULTS = new Set(["UPSTREAM_PROTOCOL", "UPSTREAM_RESET"]);

/** What an application says to one case. */
export interface Said {
  readonly method: string;
  readonly notes: readonly string[];
  /** For a person to read. */
  readonly text: string;
  readonly read: ByLetter;
}

export function saidInText({ method, notes, text, ends }: FuzzResponse): Said {
  return {
    method,
    notes,
    text:
      JSON.stringify(text) + (ends ? ", and the end of the connection" : ""),
    read: readByLetter(text, method, ends),
  };
}

export function saidInFrames(response: FramedResponse): Said {
  const { method, notes, frames } = response;
  return {
    method,
    notes,
    text: JSON.stringify(frames),
    read: readFramesByLetter(response),
  };
}

export function responseGame(responses: (index: number) => Said): Game {
  return {
    request(index) {
      const request = plainRequest(index);
      request.method = responses(index).method;
      request.target = "/r";
      request.fields.push(
        ["te", "trailers"],
        // Where a connection ends as it is used again, it may be sent once more.
        ["idempotency-key", "1"],
      );
      return request;
    },
    listeners: (_request, fit, chance) =>
      (["http1", "http2"] as const).flatMap((version) =>
        some(
          fit.filter((listener) => listener.version === version),
          1,
          chance,
        ),
      ),
    judge({ index }, seen) {
      const { read, method } = responses(index);
      return seen.flatMap((each) => {
        const wrong = wrongWith(read, method, each);
        return wrong === undefined ? [] : [`${each.listener.name}: ${wrong}`];
      });
    },
    show({ index }: FuzzRequest, seen) {
      const { text, method, notes, read } = responses(index);
      return [
        `odd: ${notes.join(", ")}`,
        `to ${method}: ${short(text)}`,
        `by the letter: ${short(JSON.stringify(read))}`,
        ...seen.map(
          ({ listener, outcome }) =>
            `${listener.name}: ${outcome.status} ${outcome.code} ${short(JSON.stringify(outcome.received ?? "no response"))}`,
        ),
      ].join("\n");
    },
    size: ({ index }) => responses(index).text.length,
    late: () => [],
  };
}

function wrongWith(
  read: ByLetter,
  method: string,
  { listener, outcome }: Seen,
): string | undefined {
  const { received, status, code, kind, flaw } = outcome;
  if (flaw !== undefined) return flaw;
  if (kind === "unfinished") return "no response, and no end";
  const complete = received?.complete === true;
  const bare =
    listener.version === "http1" &&
    received !== undefined &&
    (method === "HEAD" || hasNoPlace(status, received));
  if (read.kind === "bad") {
    const told =
      (status === 502 || status === 503) && (FAULTS.has(code) || code === "");
    // Over HTTP/1, a response that says its length is over before what is behind its content is seen.
    return !complete || told || (bare && read.late === true)
      ? undefined
      : `bad (${read.why}), and yet the caller got ${status} ${code}`;
  }
  if (received === undefined) return "good, and the caller got no response";
  if (!complete)
    return `good, and the caller got ${status} ${code} and no whole response`;
  const wanted = canonical(
    read.status,
    bare ? { ...read, trailers: [] } : read,
  );
  const got = canonical(status, received);
  return wanted === got
    ? undefined
    : `expected ${JSON.stringify(wanted)}, and the caller got ${JSON.stringify(got)}`;
}

/** HTTP/1 has a place for trailers behind chunks alone. */
function hasNoPlace(status: number, { fields }: Received): boolean {
  return (
    status === 204 ||
    status === 304 ||
    fields.some(([name]) => name === "content-length")
  );
}

function canonical(
  status: number,
  { fields, body, trailers }: Pick<Received, "fields" | "body" | "trailers">,
): string {
  const kept = fields.filter(([name]: Pair) => !HOP.test(name));
  // The order of fields of different names means nothing (RFC 9110 5.3).
  const lines = kept.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return [
    String(status),
    ...lines.map(([name, value]) => `${name}: ${value}`),
    "",
    body,
    ...trailers,
  ].join("\n");
}
