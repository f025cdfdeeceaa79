/** Requests of every kind through several listeners: one verdict, and one message at the application. */
import type { ListenerUnderTest } from "./listeners.ts";
import type { Game } from "./fuzzer.ts";
import { requestOf } from "./requests/generator.ts";
import { judge, said, type Seen } from "./judge.ts";
import type { Random } from "./random.ts";
import type { RecordingApp } from "./applications/recording-app.ts";
import { renderHttp1 } from "./requests/render-http1.ts";
import { fieldList } from "./requests/render-http2.ts";
import type { FuzzRequest } from "./requests/request.ts";

export function requestGame(seed: number, app: RecordingApp): Game {
  return {
    request: (index) => requestOf(seed, index),
    listeners(request, fit, chance) {
      // A refusal ends a connection of HTTP/1, and a handshake costs much: odd requests come to the link less often.
      const cheap =
        request.notes.length > 0 && !chance.once(10)
          ? fit.filter(({ name }) => name !== "li1")
          : fit;
      if (request.versions !== "both") return some(cheap, 3, chance);
      return (["http1", "http2"] as const).flatMap((version) =>
        some(
          cheap.filter((listener) => listener.version === version),
          2,
          chance,
        ),
      );
    },
    judge,
    show,
    size: ({ target, hosts, fields, chunks, trailers }) =>
      [target, hosts, fields, chunks, trailers].flat(2).join("").length,
    late() {
      const late = [...app.requests.keys()].map((id) => Number(id.slice(1, 9)));
      app.requests.clear();
      // Content beyond what was declared may come when the application has all the rest.
      return late.filter(
        (index) => requestOf(seed, index).http2.surplus === "",
      );
    },
  };
}

export function some(
  listeners: readonly ListenerUnderTest[],
  count: number,
  chance: Random,
): ListenerUnderTest[] {
  const left = [...listeners];
  const chosen: ListenerUnderTest[] = [];
  while (chosen.length < count && left.length > 0)
    chosen.push(...left.splice(chance.below(left.length), 1));
  return chosen;
}

/** Everything that somebody needs to see what a case is, and what became of it. */
function show(request: FuzzRequest, seen: readonly Seen[]): string {
  const lines = [`odd: ${request.notes.join(", ")}`];
  if (request.versions !== "http2")
    lines.push(
      `HTTP/1: ${short(JSON.stringify(renderHttp1(request, "#", []).text))}`,
    );
  if (request.versions !== "http1")
    lines.push(
      `HTTP/2: ${short(JSON.stringify([fieldList(request, "#", []), request.chunks, request.trailers]))}`,
    );
  for (const { listener, outcome } of seen)
    lines.push(`${listener.name}: ${short(said(outcome))}`);
  return lines.join("\n");
}

export function short(text: string): string {
  return text.length > 1500 ? `${text.slice(0, 1500)}… (${text.length})` : text;
}
